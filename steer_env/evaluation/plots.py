"""From tables to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from steer_env.evaluation.uncertainty import estimate

matplotlib.use("Agg")
_COLOURS = [matplotlib.colormaps["tab10"](i) for i in range(10)]


def attempts_curve(attempts: pd.DataFrame) -> Figure:
    """Figure 9: similarity to the goal at each attempt, with one standard error.

    Args:
        attempts: from :func:`steer_env.evaluation.statistics.attempts`.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, (policy, rows) in enumerate(attempts.groupby("policy", sort=False)):
        style: dict[str, Any] = {"color": _COLOURS[i % 10], "capsize": 2, "marker": "o", "ms": 3}
        axes.errorbar(rows["attempt"], rows["mean"], rows["error"], label=policy, **style)
    axes.set_xlabel("attempt (0 is what the first prompt gave)")
    axes.set_ylabel("similarity to the goal")
    axes.set_xticks(sorted(attempts["attempt"].unique()))
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small")
    return figure


def lottery(shares: pd.DataFrame) -> Figure:
    """Figure 3, right: the share of a user's improvement that k blind attempts reach, with one standard error.

    Args:
        shares: from :func:`steer_env.evaluation.lottery.shares`.
    """
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axes = figure.subplots()
    places = range(len(shares))
    heights = [100 * share.value for share in shares["share"]]
    axes.bar(places, heights, yerr=[100 * share.error for share in shares["share"]], capsize=3, color=_COLOURS[0])
    axes.axhline(100, color="black", lw=0.8, ls="--", label="the user")
    axes.set_xticks(places, [str(k) for k in shares["attempts"]])
    axes.set_xlabel("blind attempts")
    axes.set_ylabel("share of the user's improvement, %")
    axes.legend(fontsize="small")
    return figure


def trade_off(points: Mapping[str, tuple[Any, Any]]) -> Figure:
    """Figure 7: steerability against producibility, with one standard error each.

    Args:
        points: label → steerability and producibility, :class:`~steer_env.evaluation.uncertainty.Estimate` each.
    """
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, (label, (steered, produced)) in enumerate(points.items()):
        style: dict[str, Any] = {"fmt": "o", "capsize": 2, "color": _COLOURS[i % 10]}
        axes.errorbar(produced.value, steered.value, xerr=produced.error, yerr=steered.error, **style)
        axes.annotate(label, (produced.value, steered.value), (5, 5), textcoords="offset points")
    axes.set_xlabel("producibility (similarity)")
    axes.set_ylabel("steerability (similarity)")
    axes.margins(0.2)
    axes.grid(alpha=0.25)
    return figure


def rankings(names: Sequence[str], scores: Mapping[str, np.ndarray]) -> Figure:
    """Figure 5: the rank of each thing under each metric, the best above.

    Args:
        names: of G things.
        scores: by metric, float (G,).
    """
    figure = Figure(figsize=(1.6 + 1.6 * len(scores), 0.8 + 0.45 * len(names)), layout="constrained")
    axes = figure.subplots()
    ranks = np.stack([stats.rankdata(-values, method="ordinal") for values in scores.values()], axis=1)
    for i, (name, row) in enumerate(zip(names, ranks, strict=True)):
        axes.plot(range(len(scores)), row, marker="o", color=_COLOURS[i % 10])
        axes.annotate(name, (len(scores) - 1, row[-1]), (8, -3), textcoords="offset points", fontsize="small")
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_yticks(range(1, len(names) + 1))
    axes.invert_yaxis()
    axes.set_ylabel("rank")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def alignment(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Figure 6: similarity of images to their goals against their alignment with their prompts.

    Args:
        points: by generator, alignment and similarity, float (n,) each.
    """
    figure = Figure(figsize=(5.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for i, (name, (aligned, similar)) in enumerate(points.items()):
        axes.scatter(aligned, similar, s=4, alpha=0.3, color=_COLOURS[i % 10], label=name, edgecolors="none")
    axes.set_xlabel("alignment of image and prompt")
    axes.set_ylabel("similarity to the goal image")
    axes.grid(alpha=0.25)
    for handle in axes.legend(fontsize="small", markerscale=3).legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


def explained_variance(fits: Mapping[str, Any]) -> Figure:
    """Figure 4 left: R² of each predictor with one standard error.

    Args:
        fits: by name, from :func:`steer_env.evaluation.predictors.compare_predictors`.
    """
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(list(fits), [fit.value for fit in fits.values()], yerr=[fit.error for fit in fits.values()], capsize=3)
    axes.set_ylabel("out-of-fold R²")
    return figure


def value_function(means: np.ndarray, deviations: np.ndarray, counts: np.ndarray) -> Figure:
    """Figure 8: what each mixture scale is worth in each round, with its posterior.

    Args:
        means, deviations: float (R, 2, B), value and its standard deviation, for stayed 0 and 1.
        counts: int (R, 2, B), how often each was played; cells that never were are left out.
    """
    rounds, _, buckets = means.shape
    figure = Figure(figsize=(3.1 * rounds, 3.2), layout="constrained")
    panels = figure.subplots(1, rounds, sharey=True, squeeze=False)[0]
    scales = (np.arange(buckets) + 1) / buckets
    for place, axes in enumerate(panels):
        for stayed, label in ((0, "moved" if counts[1:, 1].any() else "all"), (1, "stayed")):
            played = counts[place, stayed] > 0
            if not played.any():
                continue
            values, errors = means[place, stayed], deviations[place, stayed]
            colour = _COLOURS[stayed]
            axes.plot(scales[played], values[played], marker="o", ms=3, color=colour, label=label)
            axes.fill_between(
                scales[played], (values - errors)[played], (values + errors)[played], color=colour, alpha=0.2
            )
            best = int(np.argmax(np.where(played, values, -np.inf)))
            axes.plot(scales[best], values[best], marker="*", ms=12, color=colour)
        axes.set_title(f"round {place + 1}", fontsize="medium")
        axes.set_xlabel("mixture scale")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("value")
    panels[-1].legend(fontsize="small", title="last round")
    return figure


def scale_choices(frame: pd.DataFrame) -> Figure:
    """Mixture scale of each round of image steering: mean over episodes, and the 10th to 90th percentile."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for i, (policy, rows) in enumerate(frame.groupby("policy", sort=False)):
        scales = np.array(rows["scales"].tolist())
        place = np.arange(scales.shape[1]) + 1
        low, high = np.percentile(scales, [10, 90], axis=0)
        axes.plot(place, scales.mean(axis=0), marker="o", ms=3, color=_COLOURS[i % 10], label=policy)
        axes.fill_between(place, low, high, color=_COLOURS[i % 10], alpha=0.1)
    axes.set_xticks(place)
    axes.set_xlabel("round")
    axes.set_ylabel("mixture scale")
    axes.set_ylim(0, 1.05)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", ncols=2)
    return figure


def training_curve(improvements: np.ndarray, window: int = 200) -> Figure:
    """Improvement over training: mean of each window of episodes, with its 95 % interval.

    Args:
        improvements: float (episodes,), in the order played.
        window: episodes a point.
    """
    window = max(2, min(window, len(improvements) // 5))
    parts = improvements[: len(improvements) // window * window].reshape(-1, window)
    found = [estimate(part).interval() for part in parts]
    episodes = (np.arange(len(parts)) + 0.5) * window
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(episodes, [each.value for each in found], color=_COLOURS[0])
    ends = [each.low for each in found], [each.high for each in found]
    axes.fill_between(episodes, *ends, color=_COLOURS[0], alpha=0.2)
    axes.set_xlabel("episodes")
    axes.set_ylabel(f"improvement, mean of {window}")
    axes.grid(alpha=0.25)
    return figure


def learning_curves(curves: pd.DataFrame, target: float) -> Figure:
    """Improvement of each agent's learned policy after so many episodes, with intervals.

    Args:
        curves: columns agent, episodes, value, low, high.
        target: improvement to be reached, a dashed line.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, (agent, rows) in enumerate(curves.groupby("agent", sort=False)):
        colour = _COLOURS[i % 10]
        axes.plot(rows["episodes"], rows["value"], marker="o", ms=3, color=colour, label=agent)
        axes.fill_between(rows["episodes"], rows["low"], rows["high"], color=colour, alpha=0.15)
    axes.axhline(target, color="black", linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("episodes of training")
    axes.set_ylabel("improvement of the learned policy")
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small")
    return figure


def strip(frames: Sequence[np.ndarray], title: str) -> Figure:
    """An episode, one row a round: goal (blue frame), image held, proposals or image of the new prompt.

    What the user went on with has a green frame.

    Args:
        frames: R pictures, uint8 (H, W, 3), from :func:`steer_env.evaluation.rollout.replay`.
        title: written above.
    """
    height, width = frames[0].shape[:2]
    figure = Figure(figsize=(6.0, 6.0 * len(frames) * height / width + 0.4), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize="small", wrap=True)
    panels = figure.subplots(len(frames), squeeze=False)[:, 0]
    for place, (axes, picture) in enumerate(zip(panels, frames, strict=True)):
        axes.imshow(picture, interpolation="nearest")
        axes.set_ylabel(f"round {place + 1}", fontsize="small")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    return figure
