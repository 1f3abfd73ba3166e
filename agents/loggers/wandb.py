"""Weights & Biases, whose package is optional, and whose server a run never waits for long."""

from __future__ import annotations

import os
import secrets
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import requests
import wandb
from matplotlib.figure import Figure

from agents.loggers import Logger, pixels
from steer_env.files import write_atomically


class WandbLogger(Logger):
    """One run of Weights & Biases, its files in ``wandb/``.

    Online, a server that doesn't answer, or doesn't accept the API key, is given up with a warning, and the run logged
    offline. A training that goes on continues the same run: its id is kept in ``wandb/run-id``. The server ignores what
    is logged again for a step that it has.

    Args:
        folder: of the run.
        done: episodes in its checkpoint.
        config: of the run, as JSON.
        project, entity, group: where the run is shown; an empty one is the environment's (WANDB_PROJECT, …).
        mode: online, offline or disabled; empty for the environment's WANDB_MODE, or else online.
        timeout: seconds to wait for the server at the start, and at the end for what isn't sent yet, which stays in the
            folder for ``wandb sync``.
    """

    def __init__(
        self,
        folder: Path,
        done: int,
        config: Mapping[str, Any],
        project: str,
        entity: str,
        group: str,
        mode: str,
        timeout: float,
    ) -> None:
        mode = mode or os.environ.get("WANDB_MODE") or "online"
        options: dict[str, Any] = {
            "mode": mode,
            "project": project or os.environ.get("WANDB_PROJECT") or "steer-env",
            "entity": entity or None,
            "group": group or None,
            "name": folder.name,
            "id": _run_id(folder / "wandb" / "run-id"),
            "resume": "allow",
            "dir": folder,
            "config": dict(config),
            "allow_val_change": True,
            "settings": wandb.Settings(init_timeout=timeout, finish_timeout=timeout, console="off", silent=True),
        }
        self._run = _start_online(options, timeout) if mode == "online" else wandb.init(**options)

    def metrics(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        shown = {k: wandb.Histogram(v.tolist()) if isinstance(v, np.ndarray) else v for k, v in values.items()}
        self._run.log({"episodes": step, **shown}, step=step, commit=True)

    def image(self, step: int, name: str, figure: Figure) -> None:
        # The step itself is closed once its metrics are logged.
        self._run.log({"episodes": step, name: wandb.Image(pixels(figure))})

    def close(self) -> None:
        self._run.finish()


def _run_id(path: Path) -> str:
    if not path.is_file():
        # An agent of a sweep gives its trials their ids.
        write_atomically(path, os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4))
    return path.read_text(encoding="utf-8")


def _start_online(options: dict[str, Any], timeout: float) -> Any:
    problem = _problem(timeout)
    if not problem:
        try:
            return wandb.init(**options)
        except (wandb.Error, TimeoutError) as error:
            # The failed run keeps its id until then.
            wandb.teardown()
            problem = str(error)
    warnings.warn(f"logging offline, for `wandb sync` later: {problem}", stacklevel=3)
    return wandb.init(**{**options, "mode": "offline"})


def _problem(timeout: float) -> str:
    """Why the server can't be used; empty if it seems that it can."""
    url = wandb.setup().settings.base_url
    answered = threading.Event()

    def ask() -> None:
        with suppress(requests.RequestException):
            requests.head(url, timeout=timeout)
            answered.set()

    # In a thread, since looking up a host's name has no limit of time.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if not answered.is_set():
        return f"{url} doesn't answer"
    return "" if wandb.login(prompt=False, verify=False) else "no API key: run `wandb login`, or set WANDB_API_KEY"
