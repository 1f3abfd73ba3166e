"""Files of a run's folder that trainings and commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from steer_env.files import write_atomically

CHECKPOINT = "checkpoint.json"
RESULT = "result.json"


class RunExistsError(FileExistsError):
    """The run folder already holds a finished run, or an unfinished one of another configuration."""


def episodes_done(folder: Path) -> int:
    """How many episodes the checkpoint in a run's folder counts; 0 where there is none."""
    path = folder / CHECKPOINT
    return int(json.loads(path.read_text())["episodes"]) if path.is_file() else 0


def write_json(value: Any, path: Path) -> None:
    """Write all or nothing."""
    write_atomically(path, json.dumps(value, indent=1) + "\n")
