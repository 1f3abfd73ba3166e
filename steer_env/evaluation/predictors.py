"""How well can steerability be predicted, and from what (paper, Figure 4 left)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from steer_env.evaluation.uncertainty import Estimate, estimate


def one_hot(names: Sequence[str]) -> np.ndarray:
    """Float (N, number of distinct names - 1); the first in the alphabet is all zeros.

    Raises:
        ValueError: only one name.
    """
    distinct = sorted(set(names))
    if len(distinct) < 2:
        raise ValueError(f"episodes of at least two generators are needed, all are of {', '.join(distinct) or 'none'}")
    return np.array([[float(name == other) for other in distinct[1:]] for name in names])


def compare_predictors(
    rewards: np.ndarray,
    groups: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    folds: int = 5,
    penalties: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
    seed: int = 0,
) -> dict[str, Estimate]:
    """R² of the mean and of ridge regressions on ever more inputs, cross-validated by groups.

    Args:
        rewards: float (N,).
        groups: (N,), such as tasks; none lies in both the training and the test part of a fold.
        inputs: by name, float (N, D), added one after the other.
        penalties: of the ridge on standardised inputs, relative to the number of episodes, to choose from by
            cross-validation within the training part.

    Returns:
        ``mean``, and each name of ``inputs`` for the predictor that also has it; standard errors over folds.

    Raises:
        ValueError: an input of another length or with missing values, or fewer groups than two a fold.
    """
    distinct, places = np.unique(groups, return_inverse=True)
    if len(distinct) < 2 * folds:
        raise ValueError(f"{len(distinct)} groups are too few for {folds} folds: at least {2 * folds}")
    for name, values in inputs.items():
        if len(values) != len(rewards) or not np.isfinite(values).all():
            raise ValueError(f"input {name!r} must be finite and have {len(rewards)} rows, has {len(values)}")
    fold = np.random.default_rng(seed).permutation(len(distinct))[places] % folds
    # A constant predicts the mean, and nothing beside other inputs.
    known = np.zeros((len(rewards), 1))
    fits = {"mean": _cross_validate(known, rewards, fold, penalties)}
    for name, values in inputs.items():
        known = np.concatenate([known, values], axis=1)
        fits[name] = _cross_validate(known, rewards, fold, penalties)
    return fits


class _Ridge(Ridge):
    """With a penalty relative to the number of episodes."""

    def fit(self, inputs: np.ndarray, rewards: np.ndarray) -> Ridge:
        """See scikit-learn."""
        return super().fit(inputs, rewards, sample_weight=np.full(len(rewards), 1 / len(rewards)))


def _cross_validate(inputs: np.ndarray, rewards: np.ndarray, fold: np.ndarray, penalties: Sequence[float]) -> Estimate:
    """Each held-out fold with the penalty that is best among the others."""
    spread = rewards.var()
    if spread == 0:
        raise ValueError(f"all rewards are {rewards[0]}: there is nothing to predict")
    squares = np.empty_like(rewards)
    for held in np.unique(fold):
        train, test = fold != held, fold == held
        ridge, grid = make_pipeline(StandardScaler(), _Ridge()), {"_ridge__alpha": list(penalties)}
        search = GridSearchCV(ridge, grid, scoring="neg_mean_squared_error", cv=PredefinedSplit(fold[train]))
        squares[test] = (rewards[test] - search.fit(inputs[train], rewards[train]).predict(inputs[test])) ** 2
    each = np.array([1 - squares[fold == held].mean() / spread for held in np.unique(fold)])
    return replace(estimate(each), value=float(1 - squares.mean() / spread))
