"""How a sweep is doing: ``python -m experiments.sweep_status folder=outputs/sweep``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.files import RESULT, episodes_done
from experiments.run import REQUIRED, ProgramOptions, Run, command, draw, option, say
from experiments.run.folder import CONFIG, ERROR, LOCK, is_claimed
from steer_env.evaluation.uncertainty import UNKNOWN, Estimate, estimate
from steer_env.files import printable
from steer_env.traces import SteeringTrace, read_traces

if TYPE_CHECKING:
    from rich.table import Table


_COLOURS = {"running": "blue", "failed": "red", "damaged": "red", "done": "green", "unfinished": "yellow"}


@dataclass
class SweepStatusOptions(ProgramOptions):
    """Show how the training runs below a folder are doing, also while their sweep runs.

    Running means that a process holds the run's lock, on whichever machine of a shared file system with locks; a run
    whose process was killed is unfinished, and goes on with the command that started it.

    Args:
        folder: of a sweep, or any other above training runs.
        window: how many of its last episodes a run's improvement is the mean of.
        lines: how many of the last lines of a failed run's error to show.
    """

    folder: str = REQUIRED
    window: int = option(500, least=2)
    lines: int = option(3, least=1)


@command(SweepStatusOptions)
def main(options: SweepStatusOptions, run: Run) -> None:
    """One row a run; below them the best so far, and the errors of those that failed."""
    jobs = read_jobs(run.folder, options.window)
    draw(_table(jobs, options.window))
    say(", ".join(f"{sum(job.state == state for job in jobs)} {state}" for state in _COLOURS))
    measured = [(job.recent.value, job.name) for job in jobs if job.recent]
    if measured:
        say(f"best so far: {max(measured)[1]}")
    for job in jobs:
        if job.error:
            say("\n".join([f"\n{job.name} {job.state}:", *job.error[-options.lines :]]))


@dataclass(frozen=True)
class Job:
    """One training run, in letters that a terminal prints and doesn't obey.

    Args:
        name: its folder, below the sweep's.
        state: ``running``, ``failed``, ``damaged``, ``done`` or ``unfinished``.
        played: episodes in its checkpoint.
        episodes: how many it is to play; None where it failed before that was settled.
        recent: improvement of its last episodes; None before there are two.
        error: the lines of the error with which it failed, or of what is damaged; none otherwise.
    """

    name: str
    state: str
    played: int
    episodes: int | None
    recent: Estimate | None
    error: list[str]


def read_jobs(folder: Path, window: int) -> list[Job]:
    """The training runs at or below a folder, by name; a ValueError if there is none.

    A run's improvement is estimated from the last episodes, as many as the window holds, at least two.
    """
    jobs = [_read_job(path, str(path.relative_to(folder)), window) for path in _run_folders(folder)]
    if not jobs:
        raise ValueError(f"no training run in or below {folder}")
    return sorted(jobs, key=lambda job: job.name)


def _run_folders(folder: Path) -> Iterator[Path]:
    """What lies inside a run's folder isn't searched: other tools may keep a config.yaml of their own there."""
    for place, below, files in os.walk(folder):
        if CONFIG in files or LOCK in files:
            yield Path(place)
            below.clear()


def _read_job(folder: Path, name: str, window: int) -> Job:
    error = (folder / ERROR).read_text("utf-8", "replace") if (folder / ERROR).is_file() else ""
    state, played, improvements = _state(folder), 0, np.array([])
    try:
        played = episodes_done(folder)
        improvements = np.array([trace.improvement for trace in _last_traces(folder / "traces", window)])
    except (OSError, ValueError) as damage:
        state, error = "damaged", str(damage)
    recent = estimate(improvements) if improvements.size > 1 else None
    lines = [printable(line) for line in error.splitlines()]
    return Job(printable(name), state, played, _episodes(folder / CONFIG), recent, lines)


def _episodes(path: Path) -> int | None:
    """What a configuration says as plain YAML: what would be looked up elsewhere isn't."""
    import yaml

    try:
        config = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    episodes = config.get("episodes") if isinstance(config, dict) else None
    return episodes if isinstance(episodes, int) else None


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


def _table(jobs: list[Job], window: int) -> Table:
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table(
        Column("run", overflow="fold"),
        Column("state", no_wrap=True),
        Column("episodes", no_wrap=True),
        Column("improvement (s.e.)", no_wrap=True),
        caption=f"improvement: mean of each run's last {window} episodes",
    )
    for job in jobs:
        recent = str(job.recent or UNKNOWN)
        state = f"[{_COLOURS[job.state]}]{job.state}[/]"
        table.add_row(escape(job.name), state, f"{job.played} of {job.episodes or '?'}", recent)
    return table


if __name__ == "__main__":
    main()
