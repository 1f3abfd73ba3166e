"""Standard errors of a study's means: by the paper's convention, and with rows of one unit dependent.

The paper's errors are over rows. Rows of one person are not independent (five attempts at each of two goals), nor
are the judgements of one annotator: the clustered error says what another sample of people would change.
"""

from __future__ import annotations

from itertools import combinations
from math import nan

import numpy as np
import pandas as pd


def row_error(values: np.ndarray) -> float:
    """The paper's: standard deviation over the square root of the number of rows, float (N,); nan for one row."""
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else nan


def clustered_error(residuals: np.ndarray, units: pd.DataFrame) -> float:
    """Cluster-robust standard error of a mean, over one or two crossed units (Cameron, Gelbach & Miller, 2011).

    Args:
        residuals: (N,), values minus their mean.
        units: (N, 1) or (N, 2), each column naming the unit that a row belongs to, such as person and annotator.

    Returns:
        √(V₁ + V₂ − V₁₂), never less than either unit's own; nan where a unit has fewer than 2 members. With every
        row its own unit it equals :func:`row_error`.
    """
    singles = [_variance(residuals, units[[name]]) for name in units]
    both = [_variance(residuals, units[list(pair)]) for pair in combinations(units, 2)]
    return float(max(sum(singles) - sum(both), *singles) ** 0.5)


def _variance(residuals: np.ndarray, units: pd.DataFrame) -> float:
    sums = pd.Series(residuals).groupby([units[name].to_numpy() for name in units]).sum().to_numpy()
    clusters = len(sums)
    if clusters < 2:
        return nan
    return float((sums**2).sum()) / len(residuals) ** 2 * clusters / (clusters - 1)
