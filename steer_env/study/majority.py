"""The authors' convention for judgements of a trace: shuffled, cut into threes, the majority of each counted once.

An incomplete last group of two that is tied counts against. The shuffle is unseeded, so their numbers differ from run
to run; here are its exact expectation and variance instead.
"""

from __future__ import annotations

from functools import cache
from math import comb

GROUP = 3


def group_sizes(judgements: int) -> list[int]:
    """
    >>> group_sizes(8)
    [3, 3, 2]
    """
    rest = judgements % GROUP
    return [GROUP] * (judgements // GROUP) + [rest] * (rest > 0)


@cache
def expected_votes(judgements: int, favourable: int) -> tuple[float, ...]:
    """Chance over shuffles that each group of one trace has a majority in favour.

    >>> expected_votes(4, 2)
    (0.5, 0.5)
    """
    return tuple(_majority(judgements, favourable, size) for size in group_sizes(judgements))


@cache
def shuffle_variance(judgements: int, favourable: int) -> float:
    """Variance over shuffles of the number of groups with a majority in favour."""
    sizes, chances = group_sizes(judgements), expected_votes(judgements, favourable)
    pairs = [(a, b) for i, a in enumerate(sizes) for j, b in enumerate(sizes) if i != j]
    both = sum(_both(judgements, favourable, a, b) for a, b in pairs)
    return sum(chances) + both - sum(chances) ** 2


def _drawn(judgements: int, favourable: int, size: int, inside: int) -> float:
    """Hypergeometric: chance that ``inside`` of the ``size`` drawn are in favour."""
    if inside > favourable or size - inside > judgements - favourable:
        return 0.0
    return comb(favourable, inside) * comb(judgements - favourable, size - inside) / comb(judgements, size)


def _majority(judgements: int, favourable: int, size: int) -> float:
    return sum(_drawn(judgements, favourable, size, inside) for inside in range(size // 2 + 1, size + 1))


def _both(judgements: int, favourable: int, first: int, second: int) -> float:
    return sum(
        _drawn(judgements, favourable, first, inside) * _majority(judgements - first, favourable - inside, second)
        for inside in range(first // 2 + 1, min(first, favourable) + 1)
    )
