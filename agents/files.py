"""Files of a run's folder that trainings and commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from steer_env.files import DamagedError, read_sealed, write_atomically

CHECKPOINT = "checkpoint.json"
RESULT = "result.json"
_LARGEST = 1 << 28
"""Bytes of a checkpoint, which lists every file of traces."""


class RunExistsError(FileExistsError):
    """The run folder already holds a finished run, or an unfinished one of another configuration."""


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The checkpoint in a run's folder; None where there is none.

    Raises:
        DamagedError: another content than was written, with the file's name.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    checkpoint = read_sealed(path, _LARGEST)
    kinds = {"identity": dict, "episodes": int, "traces": dict, "files": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(checkpoint.get(name), kind)]:
        raise DamagedError(f"{path} is no checkpoint: it lacks {', '.join(wrong)}")
    return checkpoint


def episodes_done(folder: Path) -> int:
    """How many episodes the checkpoint in a run's folder counts; 0 where there is none."""
    checkpoint = read_checkpoint(folder)
    return int(checkpoint["episodes"]) if checkpoint else 0


def write_json(value: Any, path: Path) -> None:
    """Write all or nothing."""
    write_atomically(path, json.dumps(value, indent=1) + "\n")
