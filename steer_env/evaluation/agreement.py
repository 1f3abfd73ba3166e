"""Do two measures agree? Rank agreement and correlation, with bootstrap intervals over tasks."""

from __future__ import annotations

import numpy as np

from steer_env.evaluation.uncertainty import Interval, percentiles, redrawn

_RESAMPLES = 2000


def rank_agreement(left: np.ndarray, right: np.ndarray, seed: int = 0) -> Interval:
    """Kendall's τ (a) between the orders in which two measures rank things by their means.

    Args:
        left, right: float (G, T), the measures of G things on the same T tasks.
        seed: of the bootstrap over tasks.

    Raises:
        ValueError: fewer than two things.
    """
    if len(left) < 2:
        raise ValueError(f"a ranking needs at least 2 things, got {len(left)}")
    weights = redrawn(np.random.default_rng(seed), left.shape[1], _RESAMPLES)
    pairs = np.triu_indices(len(left), 1)

    def tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.mean([np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in zip(*pairs, strict=True)], axis=0)

    value = tau(left.mean(axis=1), right.mean(axis=1)).item()
    return percentiles(value, tau(left @ weights.T, right @ weights.T))


def correlation(left: np.ndarray, right: np.ndarray, seed: int = 0) -> Interval:
    """Pearson's correlation over everything, its bootstrap over tasks: what belongs to one task isn't independent.

    Args:
        left, right: float (T, n).
        seed: of the bootstrap.

    Raises:
        ValueError: a measure that doesn't vary.
    """
    if not (np.ptp(left) and np.ptp(right)):
        raise ValueError("there is no correlation with what is the same everywhere")
    # From here on numbers are small: the sums of squares below would otherwise lose their last digits.
    x, y = left - left.mean(), right - right.mean()
    sums = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y]).sum(axis=2)

    def pearson(totals: np.ndarray) -> np.ndarray:
        n, sx, sy, sxx, syy, sxy = totals
        found: np.ndarray = (sxy - sx * sy / n) / np.sqrt((sxx - sx * sx / n) * (syy - sy * sy / n))
        return found

    weights = redrawn(np.random.default_rng(seed), len(left), _RESAMPLES)
    return percentiles(pearson(sums.sum(axis=1)).item(), pearson(sums @ weights.T))
