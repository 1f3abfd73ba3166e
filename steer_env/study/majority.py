"""The authors' convention for judgements of a trace: shuffled, cut into threes, the majority of each counted once.

An incomplete last group of two that is tied counts against. The shuffle is unseeded, so their numbers differ from run
to run; here are its exact expectation and variance instead.
"""

from __future__ import annotations

from functools import cache

from scipy.stats import hypergeom

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


def _majority(judgements: int, favourable: int, size: int) -> float:
    return float(hypergeom.sf(size // 2, judgements, favourable, size))


def _both(judgements: int, favourable: int, first: int, second: int) -> float:
    """Chance that two groups of one trace both have a majority in favour."""
    least = max(first // 2 + 1, first + favourable - judgements)
    return sum(
        float(hypergeom.pmf(inside, judgements, favourable, first))
        * _majority(judgements - first, favourable - inside, second)
        for inside in range(least, min(first, favourable) + 1)
    )
