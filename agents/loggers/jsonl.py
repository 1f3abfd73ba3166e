"""One line of JSON for each checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.loggers import Logger
from steer_env.files import write_atomically

LOG = "log.jsonl"


class JsonlLogger(Logger):
    """Appends to ``log.jsonl``; distributions as counts of each value, plots not at all (the folder has them as PNG).

    Each start of the training adds its configuration. What was logged past the checkpoint that it goes on from is
    dropped, since those episodes are played again.

    Args:
        folder: of the run.
        done: episodes in its checkpoint.
        config: of the run, as JSON.
    """

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        path = folder / LOG
        kept = [record for record in read_log(path) if record["episodes"] <= done] if path.is_file() else []
        write_atomically(path, "".join(json.dumps(record) + "\n" for record in kept))
        self._file = path.open("a")
        self._write(done, {"config": config})

    def metrics(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        self._write(step, {k: _counts(v) if isinstance(v, np.ndarray) else v for k, v in values.items()})

    def close(self) -> None:
        self._file.close()

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"episodes": step, **values}) + "\n")
        self._file.flush()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, without a last one that a killed process left unfinished."""
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _counts(values: np.ndarray) -> dict[str, int]:
    distinct, counts = np.unique(values, return_counts=True)
    return {f"{value:g}": int(count) for value, count in zip(distinct, counts, strict=True)}
