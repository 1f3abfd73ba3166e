"""TensorBoard, whose package is optional: ``tensorboard --logdir outputs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from agents.loggers import Logger, pixels


class TensorBoardLogger(Logger):
    """Writes event files to ``tensorboard/``.

    A training that goes on from a checkpoint tells TensorBoard to forget what was logged past it, since those episodes
    are played again.

    Args:
        folder: of the run.
        done: episodes in its checkpoint.
        config: of the run, as JSON.
    """

    def __init__(self, folder: Path, done: int, config: Mapping[str, Any]) -> None:
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
        # As Markdown, which TensorBoard takes text for, four spaces make it code.
        self._writer.add_text("config", indent(json.dumps(config, indent=2), "    "), done)
        self._writer.flush()

    def metrics(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                self._writer.add_histogram(name, value, step)
            else:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def image(self, step: int, name: str, figure: Figure) -> None:
        self._writer.add_image(name, pixels(figure), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
