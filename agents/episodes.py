"""Which episodes a training plays: tasks and noise as functions of its seed and of the episode's number alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TASKS, _EPISODES = 7, 8


@dataclass(frozen=True)
class Training:
    """How long to train.

    Args:
        episodes: in all.
        seed: of the order of tasks, the episodes' noise and everything that the agent draws.
        batches_per_checkpoint: batches of episodes between checkpoints.
    """

    episodes: int
    seed: int
    batches_per_checkpoint: int = 8


class EpisodeStream:
    """Episode n of a training: every task of the suite once, in random order, then again.

    Args:
        seed: of the training.
        tasks: size of the suite.
    """

    def __init__(self, seed: int, tasks: int) -> None:
        self._seed = seed
        self._order = np.random.default_rng([seed, _TASKS]).permutation(tasks)

    def options(self, first: int, n: int) -> dict[str, list[int]]:
        """Reset options of episodes first to first + n − 1: ``task_index`` and ``episode_seed``."""
        numbers = range(first, first + n)
        seeds = [int(np.random.default_rng([self._seed, _EPISODES, k]).integers(2**31 - 1)) for k in numbers]
        return {"task_index": [int(self._order[k % len(self._order)]) for k in numbers], "episode_seed": seeds}
