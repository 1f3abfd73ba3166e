"""A Gaussian process over latents that learns from comparisons (Chu and Ghahramani, 2005), batched over episodes."""

from __future__ import annotations

import torch
from torch import Tensor

from steer_env.mechanisms.directions import unit

_NEWTON_STEPS = 20
_JITTER = 1e-8
"""Added to variances; a candidate may be the same twice."""


class Preferences:
    """What a user's comparisons say about the utility of images.

    Utility has a mean of 0 and the covariance exp((cos − 1) / length²) between two latents, so that their lengths play
    no part. An image is preferred to another with probability σ(difference of utilities / temperature). The posterior
    of the differences that were compared is approximated by Laplace's method.

    Args:
        images: float64 (N, M, B), latents in any orthonormal coordinates.
        pairs: float64 (N, P, M), a row a comparison: +1 for the image preferred, −1 for the other; zero for none.
        length: of the covariance.
        temperature: in units of the utility's standard deviation.
    """

    def __init__(self, images: Tensor, pairs: Tensor, length: float, temperature: float) -> None:
        self._images, self._pairs, self._length = unit(images), pairs, length
        prior = pairs @ self._covariance(self._images, self._images) @ pairs.mT
        identity = torch.eye(prior.shape[1]).to(prior)
        values = prior.new_zeros(prior.shape[:2])
        for _ in range(_NEWTON_STEPS):
            slope, curvature = _derivatives(values, temperature)
            root = curvature.sqrt()[:, :, None]
            target = (curvature * values + slope)[:, :, None]
            inner = torch.linalg.solve(identity + root * prior * root.mT, root * (prior @ target))
            values = (prior @ (target - root * inner))[:, :, 0]
        self._slope, curvature = _derivatives(values, temperature)
        self._root = curvature.sqrt()[:, :, None]
        self._factor = torch.linalg.cholesky(identity + self._root * prior * self._root.mT)

    def posterior(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Utility of candidates, float64 (N, C, B): its mean (N, C) and covariance (N, C, C)."""
        candidates = unit(candidates)
        shared = self._pairs @ self._covariance(self._images, candidates)
        explained = torch.linalg.solve_triangular(self._factor, self._root * shared, upper=False)
        mean = (shared * self._slope[:, :, None]).sum(dim=1)
        return mean, self._covariance(candidates, candidates) - explained.mT @ explained

    def draw(self, candidates: Tensor, normal: Tensor) -> Tensor:
        """Utilities float64 (N, F, C) of the candidates under functions drawn from the posterior.

        Args:
            candidates: float64 (N, C, B).
            normal: float64 (N, F, C), standard normal draws behind the F functions.
        """
        mean, covariance = self.posterior(candidates)
        identity = torch.eye(covariance.shape[1]).to(covariance)
        return mean[:, None] + normal @ torch.linalg.cholesky(covariance + _JITTER * identity).mT

    def _covariance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.exp((a @ b.mT - 1) / self._length**2)


def _derivatives(values: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Of log σ(values / temperature): the first, and the second negated."""
    wrong = torch.sigmoid(-values / temperature)
    return wrong / temperature, wrong * (1 - wrong) / temperature**2
