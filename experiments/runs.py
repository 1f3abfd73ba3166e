"""Run folders: what every experiment leaves behind, and when it may write there."""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from rich.console import Console
from rich.markdown import Markdown

from agents.checkpoints import CHECKPOINT, RESULT, RunExistsError, write_json
from conf import schema
from conf.launchers import APART
from experiments.locks import claim, is_ours, released_at_the_end
from experiments.requeued import JOB, has_begun, sign
from steer_env.evaluation.reports import Report
from steer_env.evaluation.rollout import VERSIONS
from steer_env.files import write_atomically

CONFIG, ERROR, LEADERBOARD, CLAIMS = "config.yaml", "error.txt", "leaderboard.json", "claims"
_APART = (*APART, "logger")
"""What may differ between runs that are the same."""
_ASIDE = (
    *(*_APART, "episodes", "tasks", "strips", "threshold", "baseline"),
    *("resamples", "timed_tasks", "claim", "trials"),
)
"""What may differ when a run goes on."""
_LEFT_BEHIND = (
    *(CHECKPOINT, RESULT, ERROR, JOB, LEADERBOARD, "report.html", "report.md", "log.jsonl"),
    *("traces", "training", "policy", "agent", "figures", "tensorboard", "wandb", "rule", "people", CLAIMS),
)

console = Console()


def application(name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make a function of a configuration a Hydra application with the configuration ``conf/NAME.yaml``."""

    def decorate(body: Callable[[Any], None]) -> Callable[[], None]:
        @wraps(body)
        def job(config: Any) -> None:
            _run(body, config)

        run = hydra.main(version_base=None, config_path="../conf", config_name=name)(job)

        @wraps(body)
        def main() -> None:
            try:
                schema.check_overrides(name, sys.argv[1:])
            except ValueError as error:
                raise SystemExit(f"error: {error}") from None
            run()

        return main

    return decorate


def _run(body: Callable[[Any], None], config: Any) -> None:
    """A run, or a job of a sweep: in a folder of its own, left alone if it's finished; an error is left there, too."""
    sweep = HydraConfig.get() if HydraConfig.get().mode == RunMode.MULTIRUN else None
    if sweep:
        config.folder = str(Path(sweep.sweep.dir) / sweep.sweep.subdir)
    elif "launcher" in config and config.launcher.kind != "basic":
        raise ValueError(f"launcher={config.launcher.kind} is for sweeps: add --multirun")
    if "folder" in config and config.get("overwrite") and has_begun(Path(config.folder)):
        # What is there now is this job's own.
        config.overwrite = False
    with released_at_the_end():
        if sweep:
            if _is_finished(config):
                say(f"finished before, skipped: {config.folder}")
                return
            say(f"job {sweep.job.num}: {config.folder}")
            claim(Path(config.folder))
        try:
            body(config)
        except RunExistsError:
            raise
        except Exception as error:
            if "folder" in config and is_ours(Path(config.folder)):
                write_atomically(Path(config.folder) / ERROR, traceback.format_exc())
                say(f"failed: {config.folder}: {error}")
            raise


def _is_finished(config: Any) -> bool:
    folder = Path(config.folder)
    return not config.overwrite and (folder / RESULT).exists() and not _different(config, _APART)


def _different(config: Any, aside: tuple[str, ...]) -> list[str]:
    """Names of the options that the run in the folder was given otherwise."""
    path = Path(config.folder) / CONFIG
    now: Any = OmegaConf.to_container(config, resolve=True)
    before: Any = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else now
    return sorted(str(k) for k in now if k not in aside and _told(k, before) != _told(k, now))


def _told(name: Any, config: Any) -> Any:
    """What an option says of a run: that there is a bank of goals does, the folder that it is in doesn't."""
    value = config.get(name)
    return {**value, "goal_bank": bool(value.get("goal_bank"))} if name == "env" and value else value


def check_run(config: Any) -> None:
    """May this run write into its folder? Called before anything is loaded; claims a folder that holds a run.

    Raises:
        RunExistsError: the folder holds a finished run, or an unfinished one of another configuration, or another
            process is at work there.
    """
    folder = Path(config.folder)
    if (folder / RESULT).exists() and not config.overwrite:
        _refuse(folder, "a finished run", _different(config, _APART))
    if not (folder / CONFIG).is_file():
        return
    claim(folder)
    if not config.overwrite:
        different = _different(config, _ASIDE)
        if different:
            _refuse(folder, "an unfinished run", different)
        say(f"going on with the unfinished run in {folder}")


def _refuse(folder: Path, what: str, different: list[str]) -> NoReturn:
    other = f" with other {', '.join(different)}" if different else ""
    raise RunExistsError(f"{folder} holds {what}{other}: choose another folder, or overwrite=true")


def open_run(config: Any) -> Path:
    """Claim the folder, once all parts of the run are known to be good, and write its resolved configuration there."""
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder)
    if config.overwrite:
        _clear(folder)
    (folder / ERROR).unlink(missing_ok=True)
    sign(folder)
    # All or nothing: half of it would look like another run's, and stop this one from going on after a kill.
    write_atomically(folder / CONFIG, OmegaConf.to_yaml(config, resolve=True))
    if config.threads:
        torch.set_num_threads(config.threads)
    return folder


def _clear(folder: Path) -> None:
    """Delete what a run leaves behind, and nothing else that the folder may hold."""
    for name in _LEFT_BEHIND:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def say(message: str) -> None:
    """Tell the person at the terminal. A function, since the console itself can't travel to a launcher's process."""
    console.print(message, soft_wrap=True, markup=False)


def close_run(folder: Path, result: Mapping[str, Any]) -> None:
    """Write the result, which marks the run as finished."""
    write_json({**result, "versions": VERSIONS}, folder / RESULT)


def stop(folder: Path) -> NoReturn:
    """End after a Ctrl-C, with the exit status that shells know it by.

    Raises:
        SystemExit: always.
    """
    say(f"stopped; the same command goes on with the run in {folder}")
    raise SystemExit(130) from None


def publish(report: Report, folder: Path, wide: bool = False) -> None:
    """Write a report into the folder, and its tables to the terminal; wide ones as they stand in ``report.md``."""
    report.save(folder)
    if wide:
        console.print(report.markdown(), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(Markdown(report.markdown()))
    say(f"wrote {folder}/report.html, report.md and figures/")


def env_options(config: Any) -> dict[str, Any]:
    """The environment's part of a configuration as keyword arguments."""
    options = OmegaConf.to_container(config.env, resolve=True)
    assert isinstance(options, dict)
    return {str(name): value for name, value in options.items()}
