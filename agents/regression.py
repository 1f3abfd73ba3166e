"""Bayesian linear regression with unknown noise, in closed form, for several regressions of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NOISE_SHAPE = 1.0
"""Weight of the guess at the noise, in half observations."""


@dataclass(frozen=True)
class Posterior:
    """Weights w given σ² are N(mean, σ² L Lᵀ), and σ² is inverse gamma: so each weight is Student's t.

    Args:
        means: float (G, D).
        roots: float (G, D, D), the lower triangular L.
        shapes, rates: float (G,), of the inverse gamma distribution.
    """

    means: np.ndarray
    roots: np.ndarray
    shapes: np.ndarray
    rates: np.ndarray

    @property
    def noise(self) -> np.ndarray:
        """σ where 1 / σ² is at its mean, float (G,)."""
        return np.sqrt(self.rates / self.shapes)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws of all weights, float (n, G, D)."""
        noise = 1 / rng.gamma(self.shapes, 1 / self.rates, size=(n, len(self.shapes)))
        draws = np.einsum("gde,nge->ngd", self.roots, rng.standard_normal((n, *self.means.shape)))
        return self.means + np.sqrt(noise)[..., None] * draws


class Regression:
    """G regressions y = wᵀx + ε, ε ~ N(0, σ²), with w ~ N(0, σ² covariance) and σ² inverse gamma, each for itself.

    Args:
        groups: G.
        covariance: float (D, D) of the weights before any data, in units of the noise variance.
        noise: a guess at σ, which counts as two observations do.
    """

    def __init__(self, groups: int, covariance: np.ndarray, noise: float) -> None:
        dimensions = len(covariance)
        self._prior, self._noise = np.linalg.inv(covariance), noise
        self.counts = np.zeros(groups, dtype=np.int64)
        self.products = np.zeros((groups, dimensions, dimensions))
        self._targets = np.zeros((groups, dimensions))
        self._squares = np.zeros(groups)

    def add(self, group: int, features: np.ndarray, targets: np.ndarray) -> None:
        """Observe in one regression: features float (n, D), targets float (n,)."""
        self.counts[group] += len(targets)
        self.products[group] += features.T @ features
        self._targets[group] += features.T @ targets
        self._squares[group] += targets @ targets

    def posterior(self) -> Posterior:
        """What is known now."""
        covariances = np.linalg.inv(self._prior + self.products)
        means = np.einsum("gde,ge->gd", covariances, self._targets)
        explained = np.einsum("gd,gd->g", means, self._targets)
        return Posterior(
            means=means,
            roots=np.linalg.cholesky((covariances + covariances.swapaxes(1, 2)) / 2),
            shapes=NOISE_SHAPE + self.counts / 2,
            rates=NOISE_SHAPE * self._noise**2 + np.maximum(self._squares - explained, 0) / 2,
        )

    def state(self) -> dict[str, Any]:
        """Everything observed, as JSON."""
        return {name: values.tolist() for name, values in self._observed().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`.

        Raises:
            ValueError: a state of other regressions.
        """
        for name, values in self._observed().items():
            restored = np.array(state[name], dtype=values.dtype)
            if restored.shape != values.shape:
                raise ValueError(f"the state's {name} have shape {restored.shape}, this agent's {values.shape}")
            values[...] = restored

    def _observed(self) -> dict[str, np.ndarray]:
        return {"counts": self.counts, "products": self.products, "targets": self._targets, "squares": self._squares}
