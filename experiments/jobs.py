"""How the runs below a folder are doing, from the files that they leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from agents.checkpoints import RESULT, episodes_done
from experiments.locks import LOCK, is_claimed
from experiments.runs import CONFIG, ERROR
from steer_env.evaluation.statistics import Estimate, estimate
from steer_env.traces import SteeringTrace, read_traces


@dataclass(frozen=True)
class Job:
    """One training run.

    Args:
        name: its folder, below the one asked about.
        state: ``running``, ``failed``, ``done`` or ``unfinished``.
        played: episodes in its checkpoint.
        episodes: how many it is to play; None where it failed before that was settled.
        recent: improvement of its last episodes; None before there are two.
        error: what it failed with; empty otherwise.
    """

    name: str
    state: str
    played: int
    episodes: int | None
    recent: Estimate | None
    error: str


def read_jobs(folder: Path, window: int) -> list[Job]:
    """The training runs at or below a folder, by name.

    Args:
        folder: of a sweep, say.
        window: how many of its last episodes to estimate a run's improvement from.

    Raises:
        ValueError: no training run there, or a window of fewer than two episodes.
    """
    if window < 2:
        raise ValueError(f"window must be at least 2 episodes, got {window}")
    found = [_read_job(path, str(path.relative_to(folder)), window) for path in _run_folders(folder)]
    if not found:
        raise ValueError(f"no training run in or below {folder}")
    return sorted(found, key=lambda job: job.name)


def _run_folders(folder: Path) -> Iterator[Path]:
    """What lies inside a run's folder isn't searched: other tools may keep a config.yaml of their own there."""
    for place, below, files in os.walk(folder):
        if CONFIG in files or LOCK in files:
            yield Path(place)
            below.clear()


def _read_job(folder: Path, name: str, window: int) -> Job:
    error = (folder / ERROR).read_text("utf-8", "replace") if (folder / ERROR).is_file() else ""
    config: Any = OmegaConf.load(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    improvements = np.array([[trace.improvement for trace in _last_traces(folder / "traces", window)]])
    return Job(
        name,
        _state(folder),
        episodes_done(folder),
        config.get("episodes"),
        estimate(improvements) if improvements.size > 1 else None,
        error,
    )


def _state(folder: Path) -> str:
    if is_claimed(folder):
        return "running"
    if (folder / ERROR).is_file():
        return "failed"
    return "done" if (folder / RESULT).is_file() else "unfinished"


def _last_traces(folder: Path, n: int) -> list[SteeringTrace]:
    traces: list[SteeringTrace] = []
    for path in sorted(folder.glob("*.parquet"), reverse=True):
        if len(traces) >= n:
            break
        traces = read_traces(path) + traces
    return traces[-n:]
