"""Whether this process is a cluster's second try at a job, which goes on with what the first one has left."""

from __future__ import annotations

import os
from pathlib import Path

from steer_env.files import write_atomically

JOB = "job.txt"


def is_requeued() -> bool:
    """Did Slurm stop this job before, and start it again?"""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def sign(folder: Path) -> None:
    """Note in a run's folder which job of the cluster works there, if one does."""
    if job := os.environ.get("SLURM_JOB_ID"):
        write_atomically(folder / JOB, job)


def has_begun(folder: Path) -> bool:
    """Is this job a requeued one that had begun in the folder before it was stopped?"""
    path = folder / JOB
    return is_requeued() and path.is_file() and path.read_text() == os.environ.get("SLURM_JOB_ID")
