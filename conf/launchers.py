"""Where the jobs of a sweep run: structured configs of the group ``launcher``. And what their folders are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from omegaconf import OmegaConf

APART = ("folder", "overwrite", "threads", "launcher", "studio")
"""Options that don't make a job another one."""
_GOAL_BANK = "env.goal_bank"
"""Nor does the folder of goals, whose slashes would make folders."""

PLUGINS = {
    "launcher=joblib": "hydra_plugins.hydra_joblib_launcher",
    "launcher=slurm": "hydra_plugins.hydra_submitit_launcher",
    "studio=ray": "ray",
    "writer=endpoint": "openai",
}
"""What a choice needs; the extra of its name installs it."""


@dataclass
class LauncherConfig:
    """Where the jobs of a sweep (--multirun) run; choose with launcher=NAME.

    Args:
        kind: basic, one after another in this process; joblib, side by side on this machine; or slurm, on a cluster.
            The last two need the extra of that name.
    """

    kind: str = "basic"


@dataclass
class JoblibConfig(LauncherConfig):
    """Jobs in processes of this machine (launcher=joblib).

    Args:
        jobs: at a time; -1 for as many as there are cores.
    """

    jobs: int = -1


@dataclass
class SlurmConfig(LauncherConfig):
    """Jobs on a Slurm cluster, from a checkout and a Python that its nodes see (launcher=slurm); see docs/slurm.md.

    A job that is preempted, reaches its time limit or loses its node goes back to the queue, and then on from its last
    checkpoint. What jobs print is in .submitit, in the sweep's folder.

    Args:
        partition, account, qos, constraint: as sbatch takes them; not given, the cluster's defaults.
        minutes: time limit of a job, more than 10; an hour fits into gaps that a day doesn't.
        requeues: how many times a job that reaches its time limit goes on.
        memory_gb: main memory of a job, in GB.
        cpus: of a job; torch starts a thread on each, unless threads says otherwise.
        gpus: of a job; not given, none is asked for.
        jobs: of the sweep at a time.
        setup: a shell command before each job, such as 'module load cuda'.
        sbatch: further options by their long names: '+launcher.sbatch={nice: 100}'.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    minutes: int = 60
    requeues: int = 20
    memory_gb: int = 4
    cpus: int = 1
    gpus: int | None = None
    jobs: int = 256
    setup: str = ""
    sbatch: dict[str, Any] = field(default_factory=lambda: {"requeue": True})


def check_plugins(overrides: Sequence[str]) -> None:
    """Refuse a choice whose packages aren't there; Hydra itself wouldn't say how to get them.

    Raises:
        ValueError: saying what to install.
    """
    for choice, module in PLUGINS.items():
        if choice in overrides and not find_spec(module):
            extra = choice.partition("=")[2]
            raise ValueError(f"{choice} needs a package that isn't here: pip install 'steer-env[{extra}]'")


def job_name(overrides: Sequence[str]) -> str:
    """A folder for a job of a sweep, from what the command line says of it.

    >>> job_name(["seed=1", "launcher=slurm", "launcher.partition=gpu", "env.goal_bank=goals", "agent=ppo"])
    'agent=ppo,seed=1'
    """
    keys = {line: line.lstrip("+~").partition("=")[0] for line in overrides}
    own = (line for line, key in keys.items() if key != _GOAL_BANK and re.split("[.@]", key)[0] not in APART)
    return ",".join(sorted(own))


OmegaConf.register_new_resolver("job_name", job_name, replace=True)
