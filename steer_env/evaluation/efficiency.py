"""How many episodes an agent needs: learning curves over training seeds, and a report on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import Estimate, Interval, estimate, percentiles, redrawn

_RESAMPLES = 2000


@dataclass(frozen=True)
class Curves:
    """What the policies of several agents gained on the same tasks.

    Args:
        checkpoints: C numbers of training episodes, ascending.
        gains: agent → float (S, C, T), improvement of training seed s after checkpoint c on task t. The first agent
            is the one that the others are compared with.
        best: float (T,), of the best known policy.
        share: of the best known policy's mean that is to be reached.
    """

    checkpoints: Sequence[int]
    gains: Mapping[str, np.ndarray]
    best: np.ndarray
    share: float = 0.95

    def means(self, agent: str) -> list[Estimate]:
        """Improvement at each checkpoint, over training seeds and tasks."""
        return [estimate(self.gains[agent][:, place]) for place in range(len(self.checkpoints))]

    def first(self, agent: str) -> np.ndarray:
        """Episodes after which each training seed's policy is good enough for the first time, float (S,)."""
        return self._episodes(self._reached(agent))

    def kept(self, agent: str) -> np.ndarray:
        """Episodes from which on each training seed's policy stays good enough; infinite where none, float (S,)."""
        return self._episodes(_from_here_on(self._reached(agent)))

    def needed(self) -> dict[str, list[int | None]]:
        """Agent → :meth:`kept` of each training seed, None where none, as JSON."""
        return {agent: [int(n) if np.isfinite(n) else None for n in self.kept(agent)] for agent in self.gains}

    def ratio(self, agent: str) -> Interval:
        """How many times as many episodes the first agent needs, by the medians of :meth:`kept`.

        An agent that never gets there counts with the last checkpoint, so a ratio over it is a lower bound. The
        interval is a percentile bootstrap over training seeds and tasks.
        """
        rng, baseline = np.random.default_rng(0), next(iter(self.gains))
        value = self._ratio(np.median(self.kept(baseline)), np.median(self.kept(agent)))
        weights = redrawn(rng, len(self.best), _RESAMPLES).T
        target = self.share * self.best @ weights
        medians = []
        for name in (baseline, agent):
            kept = self._episodes(_from_here_on(self.gains[name] @ weights >= target))
            seeds = rng.integers(len(kept), size=kept.shape)
            medians.append(np.median(np.take_along_axis(kept, seeds, axis=0), axis=0))
        return percentiles(value.item(), self._ratio(*medians), method="inverted_cdf")

    def _reached(self, agent: str) -> np.ndarray:
        """Is the policy's mean at least the target? bool (S, C)."""
        return np.asarray(self.gains[agent].mean(axis=2) >= self.share * self.best.mean())

    def _episodes(self, reached: np.ndarray) -> np.ndarray:
        """The first checkpoint that is true in bool (S, C, …), or infinity, float (S, …)."""
        episodes = np.array(self.checkpoints)[reached.argmax(axis=1)]
        return np.where(reached.any(axis=1), episodes, np.inf)

    def _ratio(self, baseline: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.minimum(baseline, self.checkpoints[-1]) / other


def _from_here_on(reached: np.ndarray) -> np.ndarray:
    """True where all that follows along axis 1 is true, too."""
    return np.logical_and.accumulate(reached[:, ::-1], axis=1)[:, ::-1]


def efficiency_report(curves: Curves, best: str, setting: str) -> Report:
    """The learning curves, and how many episodes each agent needs.

    Args:
        curves: of all agents.
        best: what the best known policy is called.
        setting: a sentence about the environment.
    """
    seeds = len(next(iter(curves.gains.values())))
    target = estimate(curves.best)
    lead = (
        f"{setting} {seeds} trainings of each agent; what each would choose at a checkpoint is played on "
        f"{len(curves.best)} tasks with the same goals, first images and noise. Best known policy: {best}, improvement "
        f"{target}."
    )
    percent = f"{curves.share:.0%}"
    sections = [
        Section(
            "Learning curves",
            "Mean improvement of the learned policy, standard errors over training seeds and tasks in parentheses; "
            f"bands are 95 % intervals. The dashed line is {percent} of the best known policy's improvement.",
            [_curve_table(curves)],
            [plots.learning_curves(_curve_frame(curves), curves.share * target.value)],
        ),
        Section(
            f"Episodes needed for {percent} of the best known policy's improvement",
            "Reached: at the first checkpoint that is good enough. Kept: at the first from which on all are. Medians "
            "over training seeds, and the quartiles; the ratio is that of the medians of kept, with a 95 % bootstrap "
            "interval over training seeds and tasks. An agent that never gets there counts with the last checkpoint.",
            [_needed_table(curves)],
        ),
    ]
    return Report("Sample efficiency", lead, sections)


def _curve_table(curves: Curves) -> pd.DataFrame:
    rows = [(agent, *map(str, curves.means(agent))) for agent in curves.gains]
    return pd.DataFrame(rows, columns=["agent", *map(str, curves.checkpoints)])


def _curve_frame(curves: Curves) -> pd.DataFrame:
    rows = [
        {"agent": agent, "episodes": episodes, **asdict(found.interval())}
        for agent in curves.gains
        for episodes, found in zip(curves.checkpoints, curves.means(agent), strict=True)
    ]
    return pd.DataFrame(rows)


def _needed_table(curves: Curves) -> pd.DataFrame:
    rows = []
    for place, agent in enumerate(curves.gains):
        kept = curves.kept(agent)
        low, high = np.quantile(kept, [0.25, 0.75], method="inverted_cdf")
        compared = ("", "")
        if place:
            ratio = curves.ratio(agent)
            compared = (f"{ratio.value:.1f}", ratio.brackets(".1f"))
        quartiles = f"{_episodes(low, curves)} – {_episodes(high, curves)}"
        medians = [_episodes(float(np.median(values)), curves) for values in (curves.first(agent), kept)]
        rows.append((agent, *medians, quartiles, *compared))
    columns = ["agent", "reached", "kept", "kept, quartiles", "ratio", "95 % interval"]
    return pd.DataFrame(rows, columns=columns)


def _episodes(number: float, curves: Curves) -> str:
    return f"{number:.0f}" if np.isfinite(number) else f"> {curves.checkpoints[-1]}"
