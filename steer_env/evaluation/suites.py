"""Play policies and prompters on the tasks of a suite, and keep what they did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from steer_env.envs import SteeringVectorEnv
from steer_env.evaluation.rollout import check_fit, make_env, make_text_env, options_for, play, ways
from steer_env.policies import Policy
from steer_env.traces import SteeringTrace, read_traces, write_traces
from steer_env.types import Prompter


def evaluate(
    policies: Sequence[Policy | Prompter],
    tasks: int,
    tasks_per_batch: int = 16,
    first_task: int = 0,
    noise: int = 0,
    quiet: bool = False,
    **options: Any,
) -> Iterator[list[SteeringTrace]]:
    """Play policies of image steering and prompters on the first tasks of a suite, behind a progress bar.

    An episode's noise comes from its task alone, so results of different runs are paired. All start from the same
    images.

    Args:
        policies: any number of either.
        tasks: how many tasks of the suite.
        tasks_per_batch: how many of them at a time; bounds the memory together with the studio's shards.
        first_task: where to begin, to go on with an interrupted evaluation.
        noise: number of the noise, from 0; each plays the same tasks with proposals of its own.
        quiet: no progress bar.
        **options: of the environment (suite, generator, metric, human, rounds, …).

    Yields:
        The traces of each batch of tasks, those of prompters last.

    Raises:
        ValueError: the suite has fewer tasks.
    """
    prompters = [policy for policy in policies if isinstance(policy, Prompter)]
    choosing = [policy for policy in policies if not isinstance(policy, Prompter)]
    suite = (make_env if choosing else make_text_env)(1, **options).suite
    if tasks > len(suite):
        raise ValueError(f"suite {suite.name!r} has {len(suite)} tasks, {tasks} were asked for")
    for policy in choosing:
        check_fit(policy, options)
    kinds: list[tuple[Callable[[int], SteeringVectorEnv], Sequence[Any]]] = []
    for group in ways(choosing).values():
        kinds.append((partial(make_env, **options_for(group, options)), group))
    if prompters:
        kinds.append((partial(make_text_env, **options), prompters))
    envs: dict[int, SteeringVectorEnv] = {}
    starts = range(first_task, tasks, tasks_per_batch)
    for start in track(starts, f"{len(policies)} policies on {suite.name}", disable=quiet or len(starts) < 2):
        part = range(start, min(start + tasks_per_batch, tasks))
        traces = []
        for kind, (make, players) in enumerate(kinds):
            if kind not in envs or envs[kind].num_envs != len(players) * len(part):
                envs[kind] = make(len(players) * len(part))
            traces += play(envs[kind], players, part, [evaluation_seed(i, noise) for i in part])
        yield traces


def play_missing(
    policies: Sequence[Policy | Prompter], tasks: int, tasks_per_batch: int, folder: Path, **options: Any
) -> Iterator[list[SteeringTrace]]:
    """Play policies on the first tasks of a suite, but for those that a folder has traces of.

    Args:
        policies, tasks, tasks_per_batch: see :func:`evaluate`.
        folder: receives the traces, a file for each batch of tasks.
        **options: further arguments of :func:`evaluate`.

    Yields:
        The traces of each batch of tasks, in the order of the tasks, once the folder has them.

    Raises:
        TraceVersionError: a damaged file in the folder.
        ValueError: a file there with other episodes than these.
        FileNotFoundError: the folder loses what was written there.
    """
    noise = options.get("noise", 0)
    played = {path: read_traces(path) for path in sorted(folder.glob("*.parquet"))}
    if played:
        _check_ours(played, policies, make_env(1, **{k: v for k, v in options.items() if k not in _PLAYING}), noise)
    done = {trace.task_index: path for path, traces in played.items() for trace in traces}
    place = 0
    while place < tasks:
        if place in done:
            traces = played[done[place]]
            yield [trace for trace in traces if trace.task_index < tasks]
            place = 1 + max(trace.task_index for trace in traces)
            continue
        end = min([tasks, *(index for index in done if index > place)])
        for traces in evaluate(policies, end, tasks_per_batch, place, **options):
            path = folder / f"{traces[0].task_index:08d}.parquet"
            if missing := [str(each) for each in played if not each.is_file()]:
                raise FileNotFoundError(f"{missing[0]} was removed while the run was at work")
            write_traces(traces, path)
            played[path] = traces
            yield traces
        place = end


_PLAYING = ("noise", "first_task", "quiet")
"""Options of :func:`evaluate` that aren't the environment's."""


def _check_ours(
    files: Mapping[Path, Sequence[SteeringTrace]],
    policies: Sequence[Policy | Prompter],
    env: SteeringVectorEnv,
    noise: int,
) -> None:
    """Raises a ValueError for a file with other episodes than those that these policies play here."""
    players, seen = {(policy.name, policy.training_seed) for policy in policies}, set[int]()
    for path, traces in files.items():
        indices = sorted({trace.task_index for trace in traces})
        played = sorted((trace.policy, trace.training_seed, trace.task_index) for trace in traces)
        whole = played == sorted((*player, index) for player in players for index in indices)
        seeds = all(trace.episode_seed == evaluation_seed(trace.task_index, noise) for trace in traces)
        parts = {(trace.suite, trace.generator, trace.metric) for trace in traces}
        own = (env.suite.name, env.dynamics.generator.id, env.dynamics.metric.id)
        together = indices == list(range(indices[0], indices[-1] + 1)) if indices else False
        if not (whole and seeds and together and parts == {own} and not seen & set(indices)):
            raise ValueError(f"{path} holds other episodes than this run's: move it away, or choose another folder")
        seen |= set(indices)


def tasks_done(folder: Path) -> int:
    """How many tasks, from the first, the folder has traces of."""
    parts = sorted(folder.glob("*.parquet"))
    return 1 + max(trace.task_index for trace in read_traces(parts[-1])) if parts else 0


def evaluation_seed(task_index: int, noise: int = 0) -> int:
    """The seed of the noise that every policy meets on a task of a suite; evaluations share noise number 0."""
    words = [0xE7A1, task_index, *([noise] if noise else [])]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)
