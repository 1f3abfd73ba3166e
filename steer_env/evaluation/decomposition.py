"""How much of two models' difference in steerability is their mechanism's, how much their goals' (paper, Eq. 4–5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steer_env.evaluation.uncertainty import Interval, percentiles, redrawn


@dataclass(frozen=True)
class Decomposition:
    """Equation 5 for a model against a baseline.

    Args:
        mechanism: E_p2[μ2 − μ1], the baseline's goals exchanged for the model's.
        producible: E_p2[μ1] − E_p1[μ1], steered alike, on other goals.
        total: the two terms' sum.
        direct: the difference of mean rewards, without any predictor.
    """

    mechanism: Interval
    producible: Interval
    total: Interval
    direct: float


@dataclass(frozen=True)
class Episodes:
    """One generator's episodes.

    Args:
        features: float (N, D), of each episode's goal, the same D for both models.
        rewards: float (N,), improvements.
        tasks: int (N,), task of each episode; a task that both models have is redrawn for both at once.
    """

    features: np.ndarray
    rewards: np.ndarray
    tasks: np.ndarray

    def check(self, name: str) -> None:
        """Raises ValueError: arrays of different length, missing values, or too few tasks for the features."""
        rows, width = self.features.shape
        if not rows == len(self.rewards) == len(self.tasks):
            raise ValueError(f"{name}: {rows} features, {len(self.rewards)} rewards and {len(self.tasks)} tasks")
        if not (np.isfinite(self.features).all() and np.isfinite(self.rewards).all()):
            raise ValueError(f"{name}: features and rewards must be finite; some are missing")
        distinct = len(np.unique(self.tasks))
        if distinct < width + 2:
            raise ValueError(f"{name}: {distinct} tasks are too few for {width} features: at least {width + 2}")


def decompose(
    baseline: Episodes, model: Episodes, penalty: float = 1e-6, draws: int = 400, seed: int = 0, level: float = 0.95
) -> Decomposition:
    """Estimate both terms, the expectations by means over the sampled goals and μ by a ridge regression per model.

    The intercepts aren't penalised, so that the terms sum to the direct difference up to rounding. The predictor of
    the baseline is evaluated on the model's goals: where the two barely overlap, the terms rest on extrapolation.

    Args:
        penalty: of the ridge, relative to the number of episodes.
        draws: bootstrap samples of tasks, each with its predictors fitted anew.

    Raises:
        ValueError: features of different width, and what :meth:`Episodes.check` finds.
    """
    baseline.check("baseline")
    model.check("model")
    if baseline.features.shape[1] != model.features.shape[1]:
        raise ValueError(f"features of width {baseline.features.shape[1]} and {model.features.shape[1]} don't compare")
    tasks, places = np.unique(np.concatenate([baseline.tasks, model.tasks]), return_inverse=True)
    counts = redrawn(np.random.default_rng(seed), len(tasks), draws) * len(tasks)
    weights = np.concatenate([np.ones((1, len(tasks))), counts])[:, places]
    split = len(baseline.tasks)
    found = _terms(baseline, model, weights[:, :split], weights[:, split:], penalty)
    mechanism, producible, total = (percentiles(term[0], term[1:], level) for term in found.T)
    return Decomposition(mechanism, producible, total, float(model.rewards.mean() - baseline.rewards.mean()))


def _terms(
    first: Episodes, second: Episodes, of_first: np.ndarray, of_second: np.ndarray, penalty: float
) -> np.ndarray:
    """(B, 3): mechanism, producible set and their sum, for weights (B, N) of the episodes."""
    fits = [_fit(first, of_first, penalty), _fit(second, of_second, penalty)]
    means = [_mean(first.features, of_first), _mean(second.features, of_second)]
    mechanism = ((fits[1] - fits[0]) * means[1]).sum(axis=1)
    producible = (fits[0] * (means[1] - means[0])).sum(axis=1)
    return np.stack([mechanism, producible, mechanism + producible], axis=1)


def _design(features: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(features)), features])


def _mean(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ _design(features) / weights.sum(axis=1, keepdims=True)


def _fit(episodes: Episodes, weights: np.ndarray, penalty: float) -> np.ndarray:
    """(B, 1 + D) coefficients, the intercept first and not penalised."""
    design = _design(episodes.features)
    gram = np.einsum("bn,ni,nj->bij", weights, design, design, optimize=True)
    ridge = penalty * len(design) * np.diag([0.0] + [1.0] * episodes.features.shape[1])
    right = weights @ (design * episodes.rewards[:, None])
    return np.linalg.solve(gram + ridge, right[..., None])[..., 0]
