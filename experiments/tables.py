"""Evaluate many learned tables on the same tasks, each distinct one once, and go on where an evaluation stopped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from steer_env.evaluation.suites import play_missing
from steer_env.policies import TablePolicy

_AT_A_TIME = 8
"""Tables that are played together, on the same goals and first images."""


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
        folder: receives the traces, in a folder for each few tables.
        **options: of the environment.
    """
    distinct = list({table.name: table for table in tables}.values())
    traces = [
        trace
        for start in range(0, len(distinct), _AT_A_TIME)
        for part in play_missing(
            distinct[start : start + _AT_A_TIME], tasks, tasks_per_batch, folder / f"{start:06d}", **options
        )
        for trace in part
    ]
    gains: dict[str, list[float]] = {table.name: [] for table in distinct}
    for trace in traces:
        gains[trace.policy].append(trace.improvement)
    return {name: np.array(values) for name, values in gains.items()}
