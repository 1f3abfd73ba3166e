"""From tables to figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from steer_env.evaluation.uncertainty import estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes; an array of axes where there are several rows or columns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def colour(i: int) -> Any:
    """Of the i-th thing in a figure."""
    from matplotlib import colormaps

    return colormaps["tab10"](i % 10)


def finish(axes: Any, x: str, y: str, **legend: Any) -> None:
    """Labels and a grid; and a legend, if there are options of one."""
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.25)
    if legend:
        axes.legend(fontsize="small", **legend)


def attempts_curve(attempts: pd.DataFrame) -> Figure:
    """Figure 9: similarity to the goal at each attempt, with one standard error.

    Args:
        attempts: from :func:`steer_env.evaluation.statistics.attempts`.
    """
    figure, axes = canvas(6.4, 4.2)
    for i, (policy, rows) in enumerate(attempts.groupby("policy", sort=False)):
        style: dict[str, Any] = {"color": colour(i), "capsize": 2, "marker": "o", "ms": 3}
        axes.errorbar(rows["attempt"], rows["mean"], rows["error"], label=policy, **style)
    axes.set_xticks(sorted(attempts["attempt"].unique()))
    finish(axes, "attempt (0 is what the first prompt gave)", "similarity to the goal", ncols=1)
    return figure


def value_function(means: np.ndarray, deviations: np.ndarray, counts: np.ndarray) -> Figure:
    """Figure 8: what each mixture scale is worth in each round, with its posterior.

    Args:
        means, deviations: float (R, 2, B), value and its standard deviation, for stayed 0 and 1.
        counts: int (R, 2, B), how often each was played; cells that never were are left out.
    """
    rounds, _, buckets = means.shape
    figure, (panels,) = canvas(3.1 * rounds, 3.2, 1, rounds, sharey=True, squeeze=False)
    labels = "moved" if counts[1:, 1].any() else "all", "stayed"
    for place, axes in enumerate(panels):
        for stayed, label in enumerate(labels):
            played = np.flatnonzero(counts[place, stayed])
            if not len(played):
                continue
            scales, values, errors = (
                (played + 1) / buckets,
                means[place, stayed, played],
                deviations[place, stayed, played],
            )
            axes.plot(scales, values, marker="o", ms=3, color=colour(stayed), label=label)
            axes.fill_between(scales, values - errors, values + errors, color=colour(stayed), alpha=0.2)
            best = values.argmax()
            axes.plot(scales[best], values[best], marker="*", ms=12, color=colour(stayed))
        axes.set_title(f"round {place + 1}", fontsize="medium")
        finish(axes, "mixture scale", "value" if place == 0 else "")
    panels[-1].legend(fontsize="small", title="last round")
    return figure


def scale_choices(frame: pd.DataFrame) -> Figure:
    """Mixture scale of each round of image steering: mean over episodes, and the 10th to 90th percentile."""
    figure, axes = canvas(6.4, 3.4)
    for i, (policy, rows) in enumerate(frame.groupby("policy", sort=False)):
        scales = np.array(rows["scales"].tolist())
        rounds = np.arange(scales.shape[1]) + 1
        axes.plot(rounds, scales.mean(axis=0), marker="o", ms=3, color=colour(i), label=policy)
        axes.fill_between(rounds, *np.percentile(scales, [10, 90], axis=0), color=colour(i), alpha=0.1)
    axes.set_xticks(rounds)
    axes.set_ylim(0, 1.05)
    finish(axes, "round", "mixture scale", ncols=2)
    return figure


def training_curve(improvements: np.ndarray, window: int = 200) -> Figure:
    """Improvement over training: mean of each window of episodes, with its 95 % interval.

    Args:
        improvements: float (episodes,), in the order played.
        window: episodes a point.
    """
    window = max(2, min(window, len(improvements) // 5))
    parts = improvements[: len(improvements) // window * window].reshape(-1, window)
    means, low, high = zip(*(astuple(estimate(part).interval()) for part in parts), strict=True)
    episodes = (np.arange(len(parts)) + 0.5) * window
    figure, axes = canvas(6.4, 3.4)
    axes.plot(episodes, means, color=colour(0))
    axes.fill_between(episodes, low, high, color=colour(0), alpha=0.2)
    finish(axes, "episodes", f"improvement, mean of {window}")
    return figure


def strip(frames: Sequence[np.ndarray], title: str) -> Figure:
    """An episode, one row a round: goal (blue frame), image held, proposals or image of the new prompt.

    What the user went on with has a green frame.

    Args:
        frames: R pictures, uint8 (H, W, 3), from :func:`steer_env.evaluation.rollout.replay`.
        title: written above.
    """
    height, width = frames[0].shape[:2]
    figure, panels = canvas(6.0, 6.0 * len(frames) * height / width + 0.4, len(frames), squeeze=False)
    figure.set_dpi(110)
    figure.suptitle(title, fontsize="small", wrap=True, parse_math=False)
    for place, (axes, picture) in enumerate(zip(panels[:, 0], frames, strict=True)):
        axes.imshow(picture, interpolation="nearest")
        axes.set_ylabel(f"round {place + 1}", fontsize="small")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure
