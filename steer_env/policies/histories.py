"""A policy that remembers the whole episode, as an agent with a memory does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from steer_env.policies.cards import PolicyCard
from steer_env.policies.stored import PolicyError, ScalesPolicy

LONGEST = 12
"""Rounds; there are twice as many histories with each."""


class HistoryPolicy(ScalesPolicy):
    """A scale for each history of moves and stays: 1, 2, 4, 8 … a round.

    Args:
        scales: R rows; that of round r + 1 has 2ʳ scales, one for each history of moves (0) and stays (1) in rounds 1
            to r, read as a binary number whose first digit is the first round's.
        name, training_seed, card: see :class:`steer_env.policies.stored.StoredPolicy`.

    Raises:
        PolicyError: rows of other lengths, no or too many of them, or a scale outside [0, 1].
    """

    kind = "histories"
    order = "one for each history of moves and stays"

    def __init__(
        self,
        name: str,
        scales: Sequence[np.ndarray | Sequence[float]],
        training_seed: int = -1,
        card: PolicyCard | None = None,
    ) -> None:
        lengths = [len(row) for row in scales]
        if not 1 <= len(lengths) <= LONGEST or lengths != [2**place for place in range(len(lengths))]:
            raise PolicyError(
                f"policy {name!r}: scales of histories must have 1, 2, 4, 8 … entries in 1 to {LONGEST} rounds, "
                f"got rows of {lengths[: LONGEST + 1]}"
            )
        super().__init__(name, [np.asarray(row, dtype=np.float64) for row in scales], training_seed, card)
        self._history = np.zeros(0, dtype=np.int64)

    def start(self, episode_seeds: Sequence[int]) -> None:
        self._history = np.zeros(len(episode_seeds), dtype=np.int64)

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """As for :class:`steer_env.policies.Policy`, once a round; a PolicyError in more rounds than it has rows."""
        rounds = np.asarray(observation["round"])
        if rounds.max() >= len(self._rows):
            raise PolicyError(f"policy {self.name!r} knows {len(self._rows)} rounds: env.rounds must not be larger")
        self._history = np.where(rounds == 0, 0, 2 * self._history + observation["stayed"])
        return np.array([self._rows[place][history] for place, history in zip(rounds, self._history, strict=True)])
