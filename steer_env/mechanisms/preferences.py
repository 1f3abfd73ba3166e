"""What choices say: comparisons of images, and a Gaussian process that learns from them, batched over episodes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from steer_env.types import SteeringHistory

_NEWTON_STEPS = 20
_JITTER = 1e-8
"""Added to variances; a candidate may be the same twice."""


class Preferences:
    """A posterior of images' utility, given a user's comparisons (Chu and Ghahramani, 2005).

    Utility has a mean of 0 and the covariance exp((cos − 1) / length²) between two latents, whatever their lengths. An
    image is preferred to another with probability σ(difference of utilities / temperature). The posterior of the
    differences that were compared is approximated by Laplace's method.

    Args:
        images: float64 (N, M, B), latents in any orthonormal coordinates.
        pairs: float64 (N, P, M), a row a comparison: +1 for the image preferred, −1 for the other; zero for none.
        length: of the covariance.
        temperature: in units of the utility's standard deviation.
    """

    def __init__(self, images: Tensor, pairs: Tensor, length: float, temperature: float) -> None:
        self._images, self._pairs, self._length = normalize(images, dim=-1), pairs, length
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
        candidates = normalize(candidates, dim=-1)
        shared = self._pairs @ self._covariance(self._images, candidates)
        explained = torch.linalg.solve_triangular(self._factor, self._root * shared, upper=False)
        mean = (shared * self._slope[:, :, None]).sum(dim=1)
        return mean, self._covariance(candidates, candidates) - explained.mT @ explained

    def draw(self, candidates: Tensor, normal: Tensor) -> Tensor:
        """Utilities float64 (N, F, C) of candidates (N, C, B) under F functions, made of normal draws (N, F, C)."""
        mean, covariance = self.posterior(candidates)
        identity = torch.eye(covariance.shape[1]).to(covariance)
        return mean[:, None] + normal @ torch.linalg.cholesky(covariance + _JITTER * identity).mT

    def _covariance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.exp((a @ b.mT - 1) / self._length**2)


def _derivatives(values: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Of log σ(values / temperature): the first, and the second negated."""
    wrong = torch.sigmoid(-values / temperature)
    return wrong / temperature, wrong * (1 - wrong) / temperature**2


def shown(latents: Tensor, history: SteeringHistory) -> Tensor:
    """Latents of all images that the user may compare, from those of the current images, (N, *latent_shape).

    Returns:
        float (N, R·K + 1, D): proposals in their order, zero where a round isn't played yet; the current image last.
    """
    return torch.cat([history.proposals.flatten(3).flatten(1, 2), latents.flatten(1)[:, None]], dim=1)


def comparisons(history: SteeringHistory) -> Tensor:
    """Each proposal that wasn't taken, against the image that the user went on with.

    The history doesn't hold the first image. Where a user kept it, the proposal for which it was left later, and which
    was preferred to it, takes its place.

    Returns:
        float (N, R·K, R·K + 1), a row a proposal: −1 for the proposal itself, +1 for the image preferred to it, among
        those of :func:`shown`; zero for a proposal that was taken, or not made yet.
    """
    rounds, k = history.proposals.shape[1:3]
    device = history.choices.device
    places = torch.arange(rounds * k, device=device).reshape(rounds, k)
    taken = history.choices[:, :, None] == 1 + torch.arange(k, device=device)
    # Later rounds have higher places: the last one taken so far is the highest, the first one ever the lowest.
    held = torch.where(taken, places, -1).amax(dim=2).cummax(dim=1).values
    first = torch.where(taken, places, rounds * k).flatten(1).amin(dim=1)
    held = torch.where(held < 0, first[:, None], held).repeat_interleave(k, dim=1)
    played = torch.arange(rounds, device=device) < torch.as_tensor(history.rounds, device=device)[:, None]
    lost = (played[:, :, None] & ~taken).flatten(1)
    pairs = one_hot(held, rounds * k + 1)
    pairs.diagonal(dim1=1, dim2=2).sub_(1)
    return (pairs * lost[:, :, None]).to(history.proposals)
