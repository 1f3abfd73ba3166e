"""Train a bandit agent: batches of episodes, a checkpoint after each, an exact resume from any of them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.thompson import ThompsonSampling
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import play
from steer_env.traces import SteeringTrace, write_traces

CHECKPOINT = "checkpoint.json"
RESULT = "result.json"
_TASKS, _EPISODES, _POSTERIOR = 7, 8, 9


class RunExistsError(FileExistsError):
    """The run folder already holds a finished run, or an unfinished one of another configuration."""


@dataclass
class Training:
    """How long to train.

    Args:
        episodes: in all.
        seed: of the order of tasks, the episodes' noise and the posterior's samples.
        batches_per_checkpoint: batches of episodes between checkpoints.
    """

    episodes: int
    seed: int
    batches_per_checkpoint: int = 8


def train(agent: ThompsonSampling, env: ImageSteeringVectorEnv, training: Training, folder: Path) -> bool:
    """Train until the episodes are played, or until Ctrl-C.

    Every draw is a function of the seed and of the episode's number, so a resumed run equals an uninterrupted one.

    Args:
        agent: learns in place; a checkpoint in the folder is restored first.
        env: from :func:`steer_env.evaluation.rollout.make_env`; its size is the batch that shares a posterior.
        training: how long.
        folder: receives ``checkpoint.json`` and ``traces/``.

    Returns:
        Whether training finished.

    Raises:
        RunExistsError: the folder's checkpoint is of another configuration.
    """
    identity = _identity(agent, env, training)
    done = _restore(agent, folder, identity)
    order = np.random.default_rng([training.seed, _TASKS]).permutation(len(env.suite))
    unsaved: list[SteeringTrace] = []
    with _interruptible() as interrupted, _progress(training.episodes, done) as report:
        while done < training.episodes and not interrupted():
            traces = _play_batch(agent, env, training, order, done)
            agent.update(traces)
            unsaved += traces
            done += len(traces)
            report(done, float(np.mean([trace.improvement for trace in traces])))
            if len(unsaved) >= training.batches_per_checkpoint * env.num_envs:
                unsaved = _save(agent, folder, identity, done, unsaved)
    if unsaved:
        _save(agent, folder, identity, done, unsaved)
    return done >= training.episodes


def _play_batch(
    agent: ThompsonSampling, env: ImageSteeringVectorEnv, training: Training, order: np.ndarray, done: int
) -> list[SteeringTrace]:
    """The next episodes. The last batch is played whole and cut, so that a batch is always of one size."""
    numbers = range(done, done + env.num_envs)
    index = [int(order[number % len(order)]) for number in numbers]
    seeds = [int(np.random.default_rng([training.seed, _EPISODES, n]).integers(2**31 - 1)) for n in numbers]
    policy = agent.explore(env.num_envs, np.random.default_rng([training.seed, _POSTERIOR, done]))
    traces = play(env, [policy], index, seeds, [training.seed])
    return traces[: training.episodes - done]


def _identity(agent: ThompsonSampling, env: ImageSteeringVectorEnv, training: Training) -> dict[str, Any]:
    """What must be the same for a run to go on; the number of episodes may grow."""
    dynamics = env.dynamics
    return {
        "cells": agent.cells,
        "prior_variance": agent.prior_variance,
        "seed": training.seed,
        "batch": env.num_envs,
        "suite": env.suite.name,
        "rounds": dynamics.num_rounds,
        "proposals": dynamics.num_proposals,
        "generator": dynamics.generator.id,
        "metric": dynamics.metric.id,
        "human": dynamics.human.id,
        "distribution": dynamics.distribution.id,
    }


def _restore(agent: ThompsonSampling, folder: Path, identity: dict[str, Any]) -> int:
    path = folder / CHECKPOINT
    if not path.is_file():
        return 0
    checkpoint = json.loads(path.read_text())
    different = [name for name, value in identity.items() if checkpoint["identity"].get(name) != value]
    if different:
        was = {name: checkpoint["identity"].get(name) for name in different}
        now = {name: identity[name] for name in different}
        raise RunExistsError(f"{folder} holds a run with {was}, not {now}: choose another folder, or overwrite=true")
    agent.restore(checkpoint["agent"])
    return int(checkpoint["episodes"])


def _save(
    agent: ThompsonSampling, folder: Path, identity: dict[str, Any], done: int, traces: list[SteeringTrace]
) -> list[SteeringTrace]:
    """Traces first: a crash in between leaves a file that the resumed run writes again, the same."""
    write_traces(traces, folder / "traces" / f"{done - len(traces):08d}.parquet")
    checkpoint = {"identity": identity, "episodes": done, "agent": agent.state()}
    write_json(checkpoint, folder / CHECKPOINT)
    return []


def write_json(value: Any, path: Path) -> None:
    """Write all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    partial.replace(path)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """While it lasts, the first Ctrl-C asks to stop after the batch, and a second one stops at once."""
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[int, float], None]]:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("episodes, improvement {task.fields[recent]:.3f}"),
        TimeRemainingColumn(),
    )
    recent = float("nan")
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=total, completed=done, recent=recent)

        def report(done: int, improvement: float) -> None:
            nonlocal recent
            recent = improvement if np.isnan(recent) else 0.9 * recent + 0.1 * improvement
            progress.update(bar, completed=done, recent=recent)

        yield report
