"""How well can steerability be predicted, and from what (paper, Figure 4 left)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

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
    given = np.zeros((len(rewards), 0))
    fits = {"mean": _cross_validate(given, rewards, fold, penalties)}
    for name, values in inputs.items():
        given = np.concatenate([given, values], axis=1)
        fits[name] = _cross_validate(given, rewards, fold, penalties)
    return fits


def _cross_validate(inputs: np.ndarray, rewards: np.ndarray, fold: np.ndarray, penalties: Sequence[float]) -> Estimate:
    """Each held-out fold with the penalty that is best among the others."""
    predicted = np.empty_like(rewards)
    for held in np.unique(fold):
        known, wanted = fold != held, fold == held
        errors = [_error(inputs[known], rewards[known], fold[known], penalty) for penalty in penalties]
        penalty = penalties[int(np.argmin(errors))]
        predicted[wanted] = _predict(inputs[known], rewards[known], inputs[wanted], penalty)
    spread = rewards.var()
    if spread == 0:
        raise ValueError(f"all rewards are {rewards[0]}: there is nothing to predict")
    each = [1 - np.mean((rewards - predicted)[fold == held] ** 2) / spread for held in np.unique(fold)]
    r2 = 1 - np.mean((rewards - predicted) ** 2) / spread
    return replace(estimate(np.array(each)), value=float(r2))


def _error(inputs: np.ndarray, rewards: np.ndarray, fold: np.ndarray, penalty: float) -> float:
    """Mean squared error out of fold."""
    squares = [
        (rewards[fold == held] - _predict(inputs[fold != held], rewards[fold != held], inputs[fold == held], penalty))
        ** 2
        for held in np.unique(fold)
    ]
    return float(np.concatenate(squares).mean())


def _predict(inputs: np.ndarray, rewards: np.ndarray, wanted: np.ndarray, penalty: float) -> np.ndarray:
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    known = (inputs - centre) / scale
    gram = known.T @ known + penalty * len(known) * np.eye(known.shape[1])
    return rewards.mean() + (wanted - centre) / scale @ np.linalg.solve(gram, known.T @ (rewards - rewards.mean()))
