"""How a sweep is doing: ``python -m experiments.sweep_status folder=outputs/sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from conf import schema
from experiments.jobs import Job, read_jobs
from experiments.runs import application, console, say
from steer_env.evaluation.uncertainty import UNKNOWN

schema.register()

_COLOURS = {"running": "blue", "failed": "red", "done": "green", "unfinished": "yellow"}


@application("sweep_status")
def main(config: Any) -> None:
    """One row a run; below them the best so far, and the errors of those that failed."""
    jobs = read_jobs(Path(config.folder), config.window)
    console.print(_table(jobs, config.window))
    say(", ".join(f"{sum(job.state == state for job in jobs)} {state}" for state in _COLOURS))
    measured = [(job.recent.value, job.name) for job in jobs if job.recent]
    if measured:
        say(f"best so far: {max(measured)[1]}")
    for job in jobs:
        if job.state == "failed":
            say("\n".join([f"\n{job.name} failed:", *job.error.splitlines()[-config.lines :]]))


def _table(jobs: list[Job], window: int) -> Table:
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
