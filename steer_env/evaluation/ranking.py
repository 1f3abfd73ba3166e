"""Bootstrap intervals for tables of training seeds × tasks, and the probability of improvement.

Training seeds and tasks are both resampled (the pigeonhole bootstrap: Owen, 2007), the tasks alike for all policies, as
all play the same ones. Of n seeds or tasks n − 1 are drawn: so the resampled means vary as much as the mean itself,
where drawing n of few would vary less. Noise that is neither the seed's nor the task's counts up to three times, which
makes intervals rather too wide; with two or three seeds percentiles are still too narrow, however they are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TIE = 1e-4
"""Improvements this close are equal: batches of other sizes round similarities differently, by up to 5e-5."""


@dataclass(frozen=True)
class Interval:
    """A value with its percentile interval."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Resamples for one leaderboard.

    Args:
        tasks: T.
        resamples: how many.
        level: of the intervals.
        seed: of the resampling.
    """

    def __init__(self, tasks: int, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> None:
        self.level = level
        self._rng = np.random.default_rng(seed)
        self._resamples = resamples
        self._tasks = self._weights(tasks)

    def mean(self, values: np.ndarray) -> Interval:
        """Mean of a table, float (S, T)."""
        return self._mean(values, self._weights(len(values)))

    def difference(self, left: np.ndarray, right: np.ndarray) -> Interval:
        """Mean of left minus mean of right, float (S, T) each, on the same tasks."""
        weights = self._weights(len(left)), self._weights(len(right))
        means = [self._resampled(table, w) for table, w in zip((left, right), weights, strict=True)]
        return self._interval(float(left.mean() - right.mean()), means[0] - means[1])

    def improvement(self, left: np.ndarray, right: np.ndarray, tie: float = TIE) -> Interval:
        """Probability that a run of left beats a run of right on a task, ties counted half, averaged over tasks.

        It is Mann–Whitney's U of each task's runs over the number of their pairs (Agarwal et al., 2021).

        Args:
            left, right: float (S, T) and (S', T).
            tie: differences up to this are ties.
        """
        gaps = left[:, None] - right[None]
        wins = np.where(np.abs(gaps) <= tie, 0.5, gaps > 0).reshape(-1, left.shape[1])
        pairs = self._weights(len(left))[:, :, None] * self._weights(len(right))[:, None]
        return self._mean(wins, pairs.reshape(self._resamples, -1))

    def _weights(self, n: int) -> np.ndarray:
        """Shares of n things in each resample, float (resamples, n)."""
        drawn = max(1, n - 1)
        return self._rng.multinomial(drawn, np.full(n, 1 / n), size=self._resamples) / drawn

    def _mean(self, values: np.ndarray, weights: np.ndarray) -> Interval:
        return self._interval(float(values.mean()), self._resampled(values, weights))

    def _resampled(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return (self._tasks @ values.T * weights).sum(axis=1)

    def _interval(self, value: float, resampled: np.ndarray) -> Interval:
        low, high = np.quantile(resampled, [0.5 - self.level / 2, 0.5 + self.level / 2])
        return Interval(value, float(low), float(high))
