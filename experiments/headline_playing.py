"""Playing users on headlines: resumable, with the counts of the rule beside the traces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.files import write_json
from experiments.run.playing import tasks_done
from steer_env.headlines.dynamics import HeadlineDynamics
from steer_env.headlines.rollout import RuleCount, evaluate
from steer_env.headlines.tasks import HeadlineSuite
from steer_env.headlines.users import HeadlineUser
from steer_env.traces import SteeringTrace, read_traces, write_traces


def check_numbers(config: Any, suite: HeadlineSuite) -> int:
    """Before any work: how many tasks of the suite are played.

    Raises:
        ValueError: fewer than two, or more than there are; another number out of range; or users that can't be.
    """
    tasks = config.tasks or len(suite.tasks)
    if not 2 <= tasks <= len(suite.tasks):
        raise ValueError(f"tasks must be 2 to {len(suite.tasks)}, the size of {suite.name}, got {tasks}")
    if config.baseline not in config.users:
        raise ValueError(f"the baseline {config.baseline!r} isn't among the users: {', '.join(config.users)}")
    return tasks


def _check_same(trace: SteeringTrace, dynamics: HeadlineDynamics, suite: HeadlineSuite) -> None:
    """Files and weights may have changed under the same names."""
    before = (trace.suite, trace.generator, trace.metric)
    now = (suite.name, dynamics.model.id, dynamics.metric.id)
    if before != now:
        raise ValueError(
            f"what the folder holds was played with {', '.join(before)}, not {', '.join(now)}: give another folder"
        )


def play_suite(
    dynamics: HeadlineDynamics,
    users: Sequence[HeadlineUser],
    suite: HeadlineSuite,
    tasks: int,
    config: Any,
    folder: Path,
) -> tuple[list[SteeringTrace], list[RuleCount]]:
    """Play every user on the first tasks of a suite, or go on where an earlier call in this folder was stopped.

    Returns:
        The traces and the rule's counts of all the tasks.

    Raises:
        ValueError: what is there already was played with another suite, model or metric.
    """
    done = tasks_done(folder / "traces")
    if done:
        _check_same(read_traces(folder / "traces")[0], dynamics, suite)
    for traces, counts in evaluate(dynamics, users, suite, tasks, config.tasks_per_batch, done, config.tries):
        name = f"{traces[0].task_index:08d}"
        # The traces last: they tell that the batch is done.
        (folder / "rule").mkdir(exist_ok=True)
        write_json({"counts": [asdict(count) for count in counts]}, folder / "rule" / f"{name}.json")
        write_traces(traces, folder / "traces" / f"{name}.parquet")
    played = [trace for trace in read_traces(folder / "traces") if trace.task_index < tasks]
    counted = [
        RuleCount(**count)
        for path in sorted((folder / "rule").glob("*.json"))
        for count in json.loads(path.read_text())["counts"]
    ]
    return played, [count for count in counted if count.task_index < tasks]
