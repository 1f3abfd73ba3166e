"""A run and its folder: claiming it, going on in it, and what a run leaves there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from agents.files import CHECKPOINT, RESULT, RunExistsError, write_json
from experiments.run.console import say, show
from steer_env.compatibility import reason
from steer_env.files import DamagedError, write_atomically
from steer_env.redaction import redacted, without_secrets
from steer_env.versions import VERSIONS

if TYPE_CHECKING:
    from steer_env.evaluation.reports import Report

CONFIG, ERROR, LOCK, JOB = "config.yaml", "error.txt", "run.lock", "job.txt"
LEADERBOARD, CLAIMS = "leaderboard.json", "claims"
APART = ("folder", "overwrite", "threads", "launcher", "studio", "logger")
"""Options that may differ between runs that are the same."""
_ASIDE = (
    *(*APART, "episodes", "tasks", "strips", "threshold", "baseline", "resamples", "timed_tasks", "claim", "trials"),
    *("mode", "web", "bots", "places", "gather", "patience", "ahead", "device"),
)
"""What may differ when a run goes on."""
_LEFT_BEHIND = (
    *(CHECKPOINT, RESULT, ERROR, JOB, LEADERBOARD, "headroom.json", "report.html", "report.md", "log.jsonl"),
    *("checkpoint.pt", "checkpoint.pt.next", "traces", "training", "policy", "agent", "figures", "tensorboard"),
    *("wandb", "rule", "people", "study.sqlite", "study.sqlite-wal", "study.sqlite-shm", CLAIMS),
)
_PATIENCE, _PATIENCE_REQUEUED = 1, 60
"""Seconds to wait for a lock: a process that looks whether a folder is claimed holds the lock for a moment."""
_LONGEST_NAME = 100
held = ExitStack()
"""Locks of this run, which are released at its end."""


class Run:
    """One run of a command of that name, alone or as a job of a sweep, with the composed configuration."""

    def __init__(self, config: Any, name: str) -> None:
        self.config, self.name = config, name
        self.settings: Any = None
        self.status = 0
        """Exit status of a run that has ended well."""
        self._report: tuple[Report, bool] | None = None

    @property
    def folder(self) -> Path:
        """Where the run writes; ``~`` is the user's home."""
        return Path(self.config.folder).expanduser()

    def play(self, body: Callable[[Any, Run], Mapping[str, Any] | None], options: Callable[[], Any]) -> None:
        """Check, run the command, and write its result, which marks the run as finished."""
        sweep = HydraConfig.get() if HydraConfig.get().mode == RunMode.MULTIRUN else None
        has_folder = "overwrite" in self.config  # A command may have another folder among its options.
        if has_folder and not sweep and not str(self.config.folder).strip():
            raise ValueError("folder must be a path, got ''; without folder= a new one below outputs/ is made")
        if has_folder:
            _check_place(self.folder)
        if sweep and has_folder:
            self.config.folder = str(Path(sweep.sweep.dir).expanduser() / sweep.sweep.subdir)
        elif "launcher" in self.config and self.config.launcher.kind != "basic":
            raise ValueError(f"launcher={self.config.launcher.kind} is for sweeps: add --multirun")
        typed = options()
        self.settings = without_secrets(OmegaConf.to_container(self.config, resolve=True))
        if self.config.get("threads"):
            import torch

            torch.set_num_threads(self.config.threads)
        if not has_folder:
            for name, value in (body(typed, self) or {}).items():
                say(f"{name}: {value:.4f}")
            return
        if self.config.overwrite and has_begun(self.folder):
            # What is there now is this job's own.
            self.config.overwrite = False
        with held:
            if sweep:
                if not self.config.overwrite and (self.folder / RESULT).exists() and not self._different(APART):
                    say(f"finished before, skipped: {self.folder}")
                    return
                say(f"job {sweep.job.num}: {self.folder}")
                claim(self.folder)
            self._run(body, typed)

    def _run(self, body: Callable[[Any, Run], Mapping[str, Any] | None], options: Any) -> None:
        try:
            self._check()
            result = body(options, self)
        except KeyboardInterrupt:
            self.stop()
        except RunExistsError:
            raise
        except Exception as error:
            if lock_of(self.folder).is_locked:
                with suppress(OSError):
                    # What couldn't be written before can't be now, and that is what matters.
                    write_atomically(self.folder / ERROR, redacted(traceback.format_exc()))
                say(f"failed: {self.folder}: {error}")
            raise
        if result is not None:
            if not (self.folder / CONFIG).is_file():
                raise FileNotFoundError(f"{self.folder} was removed, or emptied, while the run was at work there")
            write_json({**result, "versions": VERSIONS}, self.folder / RESULT)
        if self._report:
            show(self._report[0].markdown(), self._report[1])
            say(f"wrote {self.folder}/report.html, report.md and figures/")
        if self.status:
            raise SystemExit(self.status)

    def _different(self, aside: tuple[str, ...]) -> list[str]:
        """Names of options, but for those aside, that the run in the folder has another value of."""
        path = self.folder / CONFIG
        now: Any = without_secrets(OmegaConf.to_container(self.config, resolve=True))
        before = written(path) if path.is_file() else now
        return sorted(str(k) for k in now if k not in aside and _matters(k, before) != _matters(k, now))

    def _check(self) -> None:
        """Claim a folder that holds an unfinished run of this configuration; refuse one with any other run."""
        folder, overwrite = self.folder, self.config.overwrite
        if (folder / RESULT).exists() and not overwrite:
            _refuse(folder, "a finished run", self._different(APART))
        if not (folder / CONFIG).is_file():
            return
        claim(folder)
        if not overwrite:
            if different := self._different(_ASIDE):
                _refuse(folder, "an unfinished run", different)
            say(f"going on with the unfinished run in {folder}")

    def open(self) -> Path:
        """Claim the folder, once all parts of the run have been checked, and write the configuration there."""
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        claim(folder)
        if self.config.overwrite:
            _clear(folder)
        (folder / ERROR).unlink(missing_ok=True)
        if job := os.environ.get("SLURM_JOB_ID"):
            write_atomically(folder / JOB, job)
        # All or nothing: half of it would look like another run's, and stop this one from going on after a kill.
        plain = without_secrets(OmegaConf.to_container(self.config, resolve=True))
        write_atomically(folder / CONFIG, OmegaConf.to_yaml(plain))
        return folder

    def publish(self, report: Report, wide: bool = False) -> None:
        """Write a report into the folder; print it once the run has ended well, a ``wide`` one as in ``report.md``."""
        report.save(self.folder)
        self._report = (report, wide)

    def stop(self) -> NoReturn:
        """End after a Ctrl-C, with the exit status that shells expect."""
        say(f"stopped; the same command goes on with the run in {self.folder}")
        raise SystemExit(130) from None


def written(path: Path) -> Any:
    """The configuration in a file, which was written resolved: no interpolation, maybe a stranger's, is evaluated."""
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, ValueError, RecursionError, OmegaConfBaseException) as error:
        raise DamagedError(f"{path} is damaged: {reason(error)}") from error
    if not isinstance(config, dict):
        raise DamagedError(f"{path} is damaged: it holds no options")
    return config


def _matters(name: Any, config: Any) -> Any:
    """The value of an option, as far as it decides results: whether there is a bank of goals, not where."""
    value = config.get(name)
    return {**value, "goal_bank": bool(value.get("goal_bank"))} if name == "env" and value else value


def _refuse(folder: Path, what: str, different: list[str]) -> NoReturn:
    other = f" with other {', '.join(different)}" if different else ""
    raise RunExistsError(f"{folder} holds {what}{other}: choose another folder, or overwrite=true")


def _check_place(folder: Path) -> None:
    """Raises a NotADirectoryError where something that isn't a folder is in the way."""
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
    if os.path.lexists(there) and not there.is_dir():
        raise NotADirectoryError(f"folder={folder} can't be made: {there} is no folder")


def _clear(folder: Path) -> None:
    """Delete what a run leaves behind, and nothing else that the folder may hold."""
    for name in _LEFT_BEHIND:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def claim(folder: Path) -> None:
    """Lock an existing folder against other processes; claiming it twice is harmless."""
    # The first try of a requeued job is over, but a shared file system may learn of it late.
    patience = _PATIENCE_REQUEUED if _is_requeued() else _PATIENCE
    try:
        held.enter_context(lock_of(folder).acquire(timeout=patience))
    except Timeout:
        raise RunExistsError(f"another process is at work in {folder}") from None


def is_claimed(folder: Path) -> bool:
    """Is a process at work there now? One that was killed isn't."""
    if (folder / LOCK).is_symlink() or not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, blocking=False):
            return False
    except Timeout:
        return True


def lock_of(folder: Path) -> FileLock:
    """This process's one lock on the folder."""
    return FileLock(folder / LOCK, is_singleton=True)


def _is_requeued() -> bool:
    """Did Slurm stop this job before, and start it again?"""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def has_begun(folder: Path) -> bool:
    """Is this job a requeued one that had begun in the folder before it was stopped?"""
    path = folder / JOB
    return _is_requeued() and path.is_file() and path.read_text() == os.environ.get("SLURM_JOB_ID")


def job_name(overrides: list[str]) -> str:
    """A folder for a job of a sweep, one level deep, from its options on the command line.

    >>> job_name(["seed=1", "launcher=slurm", "launcher.partition=gpu", "env.goal_bank=goals", "agent=ppo"])
    'agent=ppo,seed=1'
    >>> job_name(["env.suite=csv:/data/pairs.csv"])
    'env.suite=csv-data-pairs.csv-cb1a1971'
    """
    keys = {line: line.lstrip("+~").partition("=")[0] for line in overrides}
    own = (line for line, key in keys.items() if key != "env.goal_bank" and re.split("[.@]", key)[0] not in APART)
    full = ",".join(sorted(own))
    name = re.sub(r"[^\w.,=+-]+", "-", full).strip("-")
    if name == full and len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def slug(spec: str) -> str:
    """A folder's name for a part with options.

    >>> slug("bayesian:pool=96,metric=pixel-correlation")
    'bayesian-pool-96-metric-pixel-correlation'
    """
    return re.sub(r"[^a-z0-9]+", "-", spec.lower())
