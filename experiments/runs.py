"""Run folders: what every experiment leaves behind, and when it may write there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import hydra
import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.markdown import Markdown

from agents.checkpoints import CHECKPOINT, RESULT, RunExistsError, write_json
from conf import schema
from steer_env.evaluation.reports import Report
from steer_env.evaluation.rollout import VERSIONS

CONFIG, LEADERBOARD = "config.yaml", "leaderboard.json"
_ASIDE = (
    "folder",
    "overwrite",
    "threads",
    "episodes",
    "tasks",
    "strips",
    "threshold",
    "baseline",
    "resamples",
    "timed_tasks",
    "claim",
)
"""What may differ when a run goes on."""
_LEFT_BEHIND = (CHECKPOINT, RESULT, LEADERBOARD, "traces", "policy", "figures", "report.html", "report.md")

console = Console()


def application(name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make a function of a configuration a Hydra application with the configuration ``conf/NAME.yaml``."""

    def decorate(body: Callable[[Any], None]) -> Callable[[], None]:
        run = hydra.main(version_base=None, config_path="../conf", config_name=name)(body)

        @wraps(body)
        def main() -> None:
            try:
                schema.check_overrides(name, sys.argv[1:])
            except ValueError as error:
                raise SystemExit(f"error: {error}") from None
            run()

        return main

    return decorate


def check_run(config: Any) -> None:
    """May this run write into its folder? Called before anything is loaded; touches nothing.

    Raises:
        RunExistsError: the folder holds a finished run, or an unfinished one of another configuration.
    """
    folder = Path(config.folder)
    if config.overwrite:
        return
    if (folder / RESULT).exists():
        raise RunExistsError(f"{folder} holds a finished run: choose another folder, or overwrite=true")
    if (folder / CONFIG).is_file():
        now: Any = OmegaConf.to_container(config, resolve=True)
        before: Any = OmegaConf.load(folder / CONFIG)
        different = sorted(str(k) for k in now if k not in _ASIDE and before.get(k) != now[k])
        if different:
            raise RunExistsError(f"{folder} holds an unfinished run with other {', '.join(different)}: overwrite=true?")
        console.print(f"going on with the unfinished run in {folder}")


def open_run(config: Any) -> Path:
    """Claim the folder, once all parts of the run are known to be good, and write its resolved configuration there."""
    folder = Path(config.folder)
    if config.overwrite:
        _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / CONFIG, resolve=True)
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


def close_run(folder: Path, result: Mapping[str, Any]) -> None:
    """Write the result, which marks the run as finished."""
    write_json({**result, "versions": VERSIONS}, folder / RESULT)


def stop(folder: Path) -> NoReturn:
    """End after a Ctrl-C, with the exit status that shells know it by.

    Raises:
        SystemExit: always.
    """
    console.print(f"stopped; the same command goes on with the run in {folder}")
    raise SystemExit(130) from None


def publish(report: Report, folder: Path, wide: bool = False) -> None:
    """Write a report into the folder, and its tables to the terminal; wide ones as they stand in ``report.md``."""
    report.save(folder)
    if wide:
        console.print(report.markdown(), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(Markdown(report.markdown()))
    console.print(f"wrote {folder}/report.html, report.md and figures/")


def env_options(config: Any) -> dict[str, Any]:
    """The environment's part of a configuration as keyword arguments."""
    options = OmegaConf.to_container(config.env, resolve=True)
    assert isinstance(options, dict)
    return {str(name): value for name, value in options.items()}
