"""Where the course of a training is logged, besides its folder: nowhere, or by one of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from steer_env.evaluation.uncertainty import estimate
from steer_env.registry import Registry
from steer_env.traces import SteeringTrace


class Logger:
    """Receives what there is to see of a training; subclasses keep it. A step is the episodes played so far."""

    def metrics(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        """Log numbers, and float (n,) arrays whose distribution is of interest."""

    def image(self, step: int, name: str, figure: Figure) -> None:
        """Log a plot."""

    def close(self) -> None:
        """Write what isn't written yet."""


NO_LOGGER = Logger()

Opener = Callable[[Path, int, Mapping[str, Any]], Logger]
"""Starts or continues a log, given the run's folder, the episodes in its checkpoint and its configuration."""
LOGGERS = Registry(
    "logger",
    {
        "none": "",
        "jsonl": "agents.loggers.jsonl:JsonlLogger",
        "tensorboard": "agents.loggers.tensorboard:TensorBoardLogger",
        "wandb": "agents.loggers.wandb:WandbLogger",
    },
)


def load_logger(kind: str, **options: Any) -> Opener:
    """Find a logger without starting it yet.

    Args:
        kind: a name of :data:`LOGGERS`.
        options: its own.

    Raises:
        ValueError: an unknown kind.
        ImportError: the optional package that it needs isn't installed.
    """
    module, _, name = LOGGERS[kind].partition(":")
    if not module:
        return lambda folder, done, config: NO_LOGGER
    try:
        return partial(getattr(import_module(module), name), **options)
    except ImportError as error:
        raise ImportError(f"logger={kind} needs a package that isn't here: make setup") from error


def training_metrics(traces: Sequence[SteeringTrace]) -> dict[str, float | np.ndarray]:
    """What to log of the episodes since the last checkpoint: improvement, and the scales played in each round."""
    improvements = np.array([trace.improvement for trace in traces])
    values: dict[str, float | np.ndarray] = {"improvement/mean": float(improvements.mean())}
    if len(traces) > 1:
        values["improvement/error"] = estimate(improvements).error
    for place, scales in enumerate(np.array([trace.scales for trace in traces]).T):
        values[f"scales/round {place + 1}"] = scales
    return values


def pixels(figure: Figure) -> np.ndarray:
    """A plot as a picture, uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
