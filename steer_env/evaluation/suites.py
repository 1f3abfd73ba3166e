"""Play policies and prompters on the tasks of a suite, here or wherever there are collectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from rich.progress import track

from steer_env.evaluation.collectors import Batch, Collectors, Here
from steer_env.evaluation.rollout import make_env, make_text_env, play, play_text
from steer_env.policies import Policy
from steer_env.traces import SteeringTrace
from steer_env.types import Prompter


class Player:
    """Plays batches, and keeps its environments for the next ones of the same size.

    Args:
        **options: of the environments (suite, generator, metric, human, rounds, …).
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._made: dict[Callable[..., Any], Any] = {}

    def __call__(self, batch: Batch) -> list[SteeringTrace]:
        """The traces of the policies of image steering, and then those of the prompters."""
        prompters = [policy for policy in batch.policies if isinstance(policy, Prompter)]
        choosing = [policy for policy in batch.policies if not isinstance(policy, Prompter)]
        tasks, seeds, traces = batch.task_index, batch.episode_seeds, []
        if choosing:
            traces += play(self._env(make_env, len(choosing) * len(tasks)), choosing, tasks, seeds)
        if prompters:
            traces += play_text(self._env(make_text_env, len(prompters) * len(tasks)), prompters, tasks, seeds)
        return traces

    def _env(self, make: Callable[..., Any], places: int) -> Any:
        if make not in self._made or self._made[make].num_envs != places:
            self._made[make] = make(places, **self._options)
        return self._made[make]


def evaluate(
    policies: Sequence[Policy | Prompter],
    tasks: int,
    tasks_per_batch: int = 16,
    first_task: int = 0,
    noise: int = 0,
    collectors: Collectors | None = None,
    **options: Any,
) -> Iterator[list[SteeringTrace]]:
    """Play policies of image steering and prompters on the first tasks of a suite, behind a progress bar.

    An episode's noise comes from its task alone, so results of different runs are paired. All start from the same
    images.

    Args:
        policies: any number of either.
        tasks: how many tasks of the suite.
        tasks_per_batch: how many of them at a time; bounds the memory together with the generator's ``max_batch``.
        first_task: where to begin, to go on with an interrupted evaluation.
        noise: number of the noise, from 0; another one plays the same tasks again with other proposals.
        collectors: who plays, in environments of the same options; this process by default.
        **options: of the environment (suite, generator, metric, human, rounds, …).

    Yields:
        The traces of each batch of tasks, those of prompters last.

    Raises:
        ValueError: the suite has fewer tasks.
    """
    suite = make_env(1, **options).suite
    if tasks > len(suite):
        raise ValueError(f"suite {suite.name!r} has {len(suite)} tasks, {tasks} were asked for")
    collectors = collectors or Here(Player(**options))
    parts = [range(start, min(start + tasks_per_batch, tasks)) for start in range(first_task, tasks, tasks_per_batch)]
    batches = (Batch(policies, list(part), [evaluation_seed(i, noise) for i in part]) for part in parts)
    for batch in islice(batches, collectors.capacity - 1):
        collectors.submit(batch)
    for _ in track(parts, f"{len(policies)} policies on {suite.name}", disable=len(parts) < 2):
        for batch in islice(batches, 1):
            collectors.submit(batch)
        yield collectors.next()


def evaluation_seed(task_index: int, noise: int = 0) -> int:
    """The seed of the noise that every policy meets on a task of a suite; evaluations share noise number 0."""
    words = [0xE7A1, task_index, *([noise] if noise else [])]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)
