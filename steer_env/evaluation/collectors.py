"""Who plays episodes: this process, or many processes on many machines that stand in its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from steer_env.policies import Policy
from steer_env.traces import SteeringTrace
from steer_env.types import Prompter


@dataclass(frozen=True)
class Batch:
    """Episodes to be played at the same time: every policy, and every prompter, on every task.

    Args:
        policies: P of them.
        task_index: n tasks of the suite.
        episode_seeds: n seeds of the episodes' noise.
    """

    policies: Sequence[Policy | Prompter]
    task_index: Sequence[int]
    episode_seeds: Sequence[int]


class Collectors(Protocol):
    """Plays batches, and gives their traces in the order in which the batches were submitted.

    What a batch's episodes are is settled by the batch alone, so that it doesn't matter who plays it, or how often it
    was begun. ``capacity`` is how many batches should be under way for everybody to have something to do.
    """

    capacity: int

    def submit(self, batch: Batch) -> None:
        """Have a batch played; returns at once."""

    def next(self) -> list[SteeringTrace]:
        """P × n traces of the earliest batch not taken yet, as soon as it is played.

        Raises:
            IndexError: no batch is under way.
        """


class Here:
    """This process: plays a batch when its traces are asked for.

    Args:
        play: plays a batch.
    """

    capacity = 1

    def __init__(self, play: Callable[[Batch], list[SteeringTrace]]) -> None:
        self._play = play
        self._batches: deque[Batch] = deque()

    def submit(self, batch: Batch) -> None:
        """See :class:`Collectors`."""
        self._batches.append(batch)

    def next(self) -> list[SteeringTrace]:
        """See :class:`Collectors`."""
        return self._play(self._batches.popleft())
