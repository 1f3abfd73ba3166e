"""Numbers with their uncertainty: standard errors, intervals, the bootstraps behind them, and how they print.

The units are tasks and training seeds, or people and goals: rows of one unit aren't independent. Variances of means are
clustered by one or two crossed units (Cameron, Gelbach & Miller, 2011); with seeds × tasks, Satterthwaite's degrees of
freedom let few training seeds count for little where they agree, and for all where they don't.

Both kinds of number print by a format specification of a float: ``f"{found:.1%}"`` is ``94.9% (0.7%)`` for an
:class:`Estimate` and ``94.9% [93.5%, 96.3%]`` for an :class:`Interval`. Without one, four digits are shown.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from itertools import combinations
from math import nan
from typing import Any, Literal

import numpy as np
import pandas as pd

UNKNOWN = "–"
"""What tables show in place of a number that isn't known."""
SAME = 1e-4
"""Improvements this close are equal: batches of other sizes round similarities differently, by up to 5e-5."""


@dataclass(frozen=True)
class Interval:
    """A value, and the ends of an interval that holds it."""

    value: float
    low: float
    high: float

    def __format__(self, digits: str) -> str:
        return f"{self.value:{digits or '.4f'}} {self.brackets(digits)}"

    def __str__(self) -> str:
        return format(self)

    def brackets(self, digits: str = "") -> str:
        """The ends alone, as they print."""
        return f"[{self.low:{digits or '.4f'}}, {self.high:{digits or '.4f'}}]"


@dataclass(frozen=True)
class Estimate:
    """A mean, a share or a ratio of means.

    Args:
        value: of it.
        error: its standard error.
        episodes: how many observations are in it.
        freedom: degrees of freedom of the error.
    """

    value: float
    error: float
    episodes: int
    freedom: float

    def __format__(self, digits: str) -> str:
        return f"{self.value:{digits or '.4f'}} ({self.error:{digits.removeprefix('+') or '.4f'}})"

    def __str__(self) -> str:
        return format(self)

    def interval(self, level: float = 0.95) -> Interval:
        """Student's confidence interval."""
        from scipy import stats

        half = float(stats.t.ppf(0.5 + level / 2, self.freedom)) * self.error
        return Interval(self.value, self.value - half, self.value + half)

    @property
    def p_value(self) -> float:
        """Two-sided, against a value of zero."""
        from scipy import stats

        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))


def estimate(values: np.ndarray) -> Estimate:
    """Mean over tasks, float (T,), or over training seeds × tasks, float (S, T), with its clustered standard error.

    With one training seed the error is that of the mean over tasks, and speaks of that one training alone.

    Raises:
        ValueError: fewer than two tasks, or a missing episode.
    """
    table = np.atleast_2d(values).astype(float)
    seeds, tasks = table.shape
    if tasks < 2:
        raise ValueError(f"a standard error needs at least 2 tasks, got {tasks}")
    if not np.isfinite(table).all():
        raise ValueError("every training seed must be played on every task")
    mean = float(table.mean())
    residuals = table - mean
    by_task = _variance(residuals.sum(axis=0), table.size)
    if seeds == 1:
        return Estimate(mean, by_task**0.5, table.size, tasks - 1)
    by_seed, single = _variance(residuals.sum(axis=1), table.size), _variance(residuals.ravel(), table.size)
    variance = max(by_task + by_seed - single, by_task, by_seed)
    spread = by_task**2 / (tasks - 1) + by_seed**2 / (seeds - 1)
    return Estimate(mean, variance**0.5, table.size, variance**2 / spread if spread else tasks - 1)


def ratio(part: np.ndarray, whole: np.ndarray) -> Estimate:
    """Mean of one measure over mean of another on the same tasks, float (T,) each, with the delta method's error.

    Raises:
        ValueError: fewer than two tasks, a value that isn't finite, or a whole whose mean isn't positive.
    """
    share, influence = share_of(part, whole)
    return replace(estimate(influence), value=share)


def share_of(part: np.ndarray, whole: np.ndarray) -> tuple[float, np.ndarray]:
    """Ratio of the means of two paired measures, float (T,) each, and the influence of each pair on it.

    Raises:
        ValueError: the whole's mean isn't positive.
    """
    if not whole.mean() > 0:
        raise ValueError(f"there is no share of a mean of {whole.mean():g}")
    share = float(part.sum() / whole.sum())
    return share, (part - share * whole) / whole.mean()


def row_error(values: np.ndarray) -> float:
    """Standard error of a mean over independent rows, float (N,); nan for one row."""
    return _variance(values - values.mean(), len(values)) ** 0.5


def clustered_error(residuals: np.ndarray, units: pd.DataFrame) -> float:
    """Cluster-robust standard error of a mean, over one or two crossed units.

    Args:
        residuals: (N,), values minus their mean.
        units: (N, 1) or (N, 2), each column naming the unit that a row belongs to, such as person and annotator.

    Returns:
        √(V₁ + V₂ − V₁₂), never less than either unit's own; nan where a unit has fewer than 2 members. With every
        row its own unit it equals :func:`row_error`.
    """

    def clustered(*names: Hashable) -> float:
        sums = pd.Series(residuals).groupby([units[name].to_numpy() for name in names]).sum()
        return _variance(sums.to_numpy(), len(residuals))

    singles = [clustered(name) for name in units]
    both = sum(clustered(*pair) for pair in combinations(units, 2))
    return float(max(sum(singles) - both, *singles) ** 0.5)


def clustered_estimate(values: np.ndarray, units: pd.Series | pd.DataFrame) -> Estimate:
    """Mean of values (N,) with its :func:`clustered_error`; units (N,), or (N, 1) or (N, 2)."""
    mean, units = float(values.mean()), pd.DataFrame(units)
    return Estimate(mean, clustered_error(values - mean, units), len(values), int(units.nunique().min()) - 1)


def clustered_covariance(residuals: np.ndarray, units: pd.Series | np.ndarray) -> np.ndarray:
    """Cluster-robust covariance of k means over the same rows.

    Args:
        residuals: float (N, k), values minus their means, or influences.
        units: N, the unit that a row belongs to, such as a person.

    Returns:
        Float (k, k); its diagonal holds the squares of what :func:`clustered_error` gives; nan with fewer than 2 units.
    """
    sums = pd.DataFrame(residuals).groupby(np.asarray(units)).sum().to_numpy()
    if len(sums) < 2:
        return np.full((residuals.shape[1],) * 2, nan)
    return np.asarray(sums.T @ sums / len(residuals) ** 2 * len(sums) / (len(sums) - 1))


def _variance(sums: np.ndarray, rows: int) -> float:
    """Of a mean over so many rows, from the sums of the residuals of each unit."""
    units = len(sums)
    return float((sums**2).sum()) / rows**2 * units / (units - 1) if units > 1 else nan


def redrawn(rng: np.random.Generator, units: int, resamples: int, drawn: int | None = None) -> np.ndarray:
    """Share of each unit in resamples that draw ``drawn`` units, or as many as there are: float (resamples, units)."""
    drawn = drawn or units
    return rng.multinomial(drawn, np.full(units, 1 / units), size=resamples) / drawn


def percentiles(
    value: float, resampled: np.ndarray, level: float = 0.95, method: Literal["linear", "inverted_cdf"] = "linear"
) -> Interval:
    """A value with the percentile interval of its resamples, float (resamples,); nan among them are left out."""
    known, tails = resampled[~np.isnan(resampled)], [0.5 - level / 2, 0.5 + level / 2]
    low, high = np.quantile(known, tails, method=method) if len(known) else (nan, nan)
    return Interval(float(value), float(low), float(high))


def pearson(first: np.ndarray, second: np.ndarray, units: Any, resamples: int) -> Interval:
    """Pearson's correlation of two measures, float (N,) each, with a 95 % percentile interval over units (N,).

    Nan where a measure is the same everywhere. Their means should be near 0: sums of squares lose digits otherwise.
    """
    sums = pd.DataFrame({"n": 1.0, "x": first, "y": second, "xx": first**2, "yy": second**2, "xy": first * second})
    by_unit = sums.groupby(np.asarray(units)).sum().to_numpy()

    def of_sums(totals: np.ndarray) -> np.ndarray:
        n, x, y, xx, yy, xy = totals
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y)))

    weights = redrawn(np.random.default_rng(0), len(by_unit), resamples)
    return percentiles(float(of_sums(by_unit.sum(axis=0))), of_sums((weights @ by_unit).T))


class Bootstrap:
    """Resamples of tables of training seeds × tasks, the tasks alike for all policies, as all play the same ones.

    Training seeds and tasks are both resampled (the pigeonhole bootstrap: Owen, 2007). Of n seeds or tasks n − 1 are
    drawn: so the resampled means vary as much as the mean itself, where drawing n of few would vary less. Noise that is
    neither the seed's nor the task's counts up to three times, which makes intervals rather too wide; with two or three
    seeds percentiles are still too narrow, however they are drawn.

    Args:
        tasks: T.
        resamples: how many.
        level: of the intervals.
        seed: of the resampling.
    """

    def __init__(self, tasks: int, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> None:
        self._level, self._resamples = level, resamples
        self._rng = np.random.default_rng(seed)
        self._tasks = self._weights(tasks)

    def mean(self, values: np.ndarray) -> Interval:
        """Mean of a table, float (S, T)."""
        return self._mean(values, self._weights(len(values)))

    def difference(self, left: np.ndarray, right: np.ndarray) -> Interval:
        """Mean of left minus mean of right, float (S, T) each, on the same tasks."""
        means = [self._resampled(table, self._weights(len(table))) for table in (left, right)]
        return percentiles(left.mean() - right.mean(), means[0] - means[1], self._level)

    def improvement(self, left: np.ndarray, right: np.ndarray, tie: float = SAME) -> Interval:
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
        return redrawn(self._rng, n, self._resamples, max(1, n - 1))

    def _mean(self, values: np.ndarray, weights: np.ndarray) -> Interval:
        return percentiles(values.mean(), self._resampled(values, weights), self._level)

    def _resampled(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return (self._tasks @ values.T * weights).sum(axis=1)
