"""Evaluate many learned tables on the same tasks, each distinct one once, and go on where an evaluation stopped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from steer_env.evaluation.suites import evaluate
from steer_env.policies import TablePolicy
from steer_env.traces import SteeringTrace, read_traces, write_traces

_AT_A_TIME = 8
"""Tables that are played together, on the same goals and first images; an interruption loses their episodes."""


def canonical(policy: TablePolicy, rounds: int) -> TablePolicy:
    """The same policy for an episode of so many rounds, named after its scales.

    Nobody has stayed before the first round: there the scale after having stayed is set to the other one.
    """
    place = np.repeat(np.arange(rounds), 2)
    scales = policy.act({"round": place, "stayed": np.tile([0, 1], rounds)}).reshape(rounds, 2)
    scales[0, 1] = scales[0, 0]
    return TablePolicy("_".join("-".join(f"{scale:g}" for scale in row) for row in scales), scales)


def improvements(
    tables: Iterable[TablePolicy], tasks: int, tasks_per_batch: int, folder: Path, **options: Any
) -> dict[str, np.ndarray]:
    """Name of each distinct table → improvement on each task, float (T,).

    Args:
        tables: canonical ones, any number of them equal.
        tasks: how many tasks of the suite.
        tasks_per_batch: how many of them at a time.
        folder: receives the traces, one file a table.
        **options: of the environment.
    """
    distinct = list({table.name: table for table in tables}.values())
    missing = [table for table in distinct if len(_played(table, folder)) < tasks]
    for start in range(0, len(missing), _AT_A_TIME):
        part = missing[start : start + _AT_A_TIME]
        batches = evaluate(part, tasks, tasks_per_batch, **options)
        traces = [trace for batch in batches for trace in batch]
        for table in part:
            write_traces((trace for trace in traces if trace.policy == table.name), _file(table, folder))
    return {
        table.name: np.array([trace.improvement for trace in _played(table, folder) if trace.task_index < tasks])
        for table in distinct
    }


def _file(table: TablePolicy, folder: Path) -> Path:
    return folder / f"{table.name}.parquet"


def _played(table: TablePolicy, folder: Path) -> list[SteeringTrace]:
    path = _file(table, folder)
    return read_traces(path) if path.is_file() else []
