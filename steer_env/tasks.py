"""Where tasks come from: a suite is a named, versioned, immutable list of tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import overload

import numpy as np

from steer_env import tiles
from steer_env.registry import Registry
from steer_env.types import Task

_SPLITS = {"test": (0,), "val": (1,), "train": tuple(range(2, 10))}


class TileSuite(Sequence[Task]):
    """Tasks on the embedded domain, each a pure function of the suite's seed and the task's index.

    The goal prompt names all eight factors of a tiling. The user's prompt names two to four of them, in other
    words and sometimes wrongly, as real users write. Tilings are split by a hash of their factors, so suites of
    different splits share no goal.

    Args:
        name: the suite's name.
        split: ``train``, ``val`` or ``test``.
        size: number of tasks.
        seed: where the tasks come from.
    """

    def __init__(self, name: str, split: str, size: int, seed: int) -> None:
        self.name, self.split, self.size, self.seed = name, split, size, seed

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.size))]
        if not 0 <= index < self.size:
            raise IndexError(f"suite {self.name!r} has tasks 0 to {self.size - 1}, not {index}")
        rng = np.random.default_rng([self.seed, index])
        factors = _draw_tiling(self.split, rng)
        named = np.zeros(len(tiles.FACTORS), dtype=bool)
        named[rng.permutation(len(tiles.FACTORS))[: rng.integers(2, 5)]] = True
        return Task(
            suite=self.name,
            index=int(index),
            goal_prompt=tiles.full_caption(factors),
            goal_seed=int(rng.integers(2**31)),
            prompt=tiles.caption(factors, named, tiles.CASUAL, rng),
            initial_seed=int(rng.integers(2**31)),
        )


def _draw_tiling(split: str, rng: np.random.Generator) -> np.ndarray:
    while True:
        factors = tiles.sample_factors(1, rng)[0]
        if hashlib.sha256(factors.astype(np.uint8).tobytes()).digest()[0] % 10 in _SPLITS[split]:
            return factors


SUITES = Registry(
    "suite",
    {
        "tiles-train-v1": ("train", 60_000, 101),
        "tiles-val-v1": ("val", 2_000, 102),
        "tiles-test-v1": ("test", 2_000, 103),
    },
)
"""Name → (split, size, seed)."""


@lru_cache
def load_suite(name: str) -> TileSuite:
    """The suite of that name.

    Raises:
        ValueError: there is none; the message lists those that exist.

    >>> load_suite("tiles-test-v1")[0] == load_suite("tiles-test-v1")[0]
    True
    """
    return TileSuite(name, *SUITES[name])
