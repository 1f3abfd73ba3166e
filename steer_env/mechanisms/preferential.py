"""Preferential Bayesian optimisation on the latent, as a baseline that makes no images beyond those shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from steer_env.mechanisms.options import PreferentialOptions
from steer_env.mechanisms.preferences import Preferences, comparisons, shown
from steer_env.proposals import mix
from steer_env.ties import first_best_of
from steer_env.types import SteeringHistory

_STREAM = 0x9BE0
_FUNCTIONS = 64
"""Drawn from the posterior, to average over."""
_DEPENDENT = 1e-4
"""A vector with this share of its length, or less, in a new direction has none: that is rounding."""


@dataclass
class PreferentialSteering(PreferentialOptions):
    """Offers the images that a Gaussian process, which learns from the choices, expects the user to like.

    Candidates for a proposal are mixtures of the current latent, at the policy's scale, with noises that lie in the
    subspace of the latents shown so far and of the noise drawn for this proposal; each keeps that noise's length and
    its component along the current latent. The proposals, chosen one after the other, maximise the expected utility of
    the best image on the screen, over functions drawn from the posterior
    (:class:`steer_env.mechanisms.preferences.Preferences`). In the first round proposals are the mixture's. For
    users whose choices have nothing to do with the images, proposals are standard normal.

    Raises:
        ValueError: fewer than two candidates, or a length or temperature that isn't positive.
    """

    extra_images = 0

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise ValueError(f"candidates must be at least 2, got {self.candidates}")
        for name, value in (("length", self.length), ("temperature", self.temperature)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        self.id = f"preferential-{self.candidates}-{self.length:g}-{self.temperature:g}"

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        images, drawn, pairs = shown(latents, history), noise.flatten(2), comparisons(history)
        # The current latent, what was shown, and each noise: none of what follows needs other coordinates.
        axes = orthonormal(torch.cat([images[:, -1:], images[:, :-1], drawn], dim=1))
        inside, outside, normal = self._draw(axes, noise.shape[1], history)
        noises = _candidates(drawn, axes, inside, outside)
        seen = (images @ axes.mT).double()
        offered = torch.cat([mix(seen[:, -1], noises.flatten(1, 2), scales.double()), seen[:, -1:]], dim=1)
        utilities = Preferences(seen, pairs.double(), self.length, self.temperature).draw(offered, normal)
        best = _best(utilities[:, :, :-1].unflatten(2, noises.shape[1:3]), utilities[:, :, -1:])
        chosen = noises.gather(2, best[:, :, None, None].expand(-1, -1, 1, noises.shape[3]))[:, :, 0]
        known = pairs.flatten(1).any(dim=1)[:, None, None]
        turned = torch.where(known, chosen.to(axes) @ axes, drawn)
        return mix(latents, turned.reshape(noise.shape), scales)

    def _draw(self, axes: Tensor, proposals: int, history: SteeringHistory) -> tuple[Tensor, Tensor, Tensor]:
        """From each episode's own stream, float64 on the device.

        Returns:
            Of each candidate's turned noise: (N, K, C, M), its part in the directions of the M images shown, and
            (N, K, C, 1), its part in that of the noise drawn; and (N, F, K·C + 1), standard normal, behind F functions.
        """
        n, k, c, m = len(axes), proposals, self.candidates, axes.shape[1] - 1 - proposals
        inside, normal = torch.empty(n, k, c, m), torch.empty(n, _FUNCTIONS, k * c + 1)
        share = torch.empty(n, k, c, 1)
        for i, (seed, played) in enumerate(zip(history.seeds, history.rounds, strict=True)):
            stream = np.random.SeedSequence([seed, int(played), _STREAM]).generate_state(1, np.uint64)[0]
            rng = torch.Generator().manual_seed(int(stream >> np.uint64(1)))
            for drawn in (inside, normal):
                torch.randn(drawn.shape[1:], generator=rng, out=drawn[i])
            torch.rand(share.shape[1:], generator=rng, out=share[i])
        inside, share, normal = (drawn.to(axes.device).double() for drawn in (inside, share, normal))
        # Some axes are none: of rounds not played yet, and of images that were shown before.
        there = axes[:, None, None, 1 : 1 + m].any(dim=4)
        return share * unit(inside * there), (1 - share.square()).sqrt(), normal


def _candidates(drawn: Tensor, axes: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Candidate noises, float64 (N, K, C, 1 + M + K), in the coordinates of the axes, float (N, 1 + M + K, D).

    Args:
        drawn: float (N, K, D), noise whose length and component along the current latent each candidate keeps.
        inside: float64 (N, K, C, M), the turned noise's parts along the images shown.
        outside: float64 (N, K, C, 1), its part along the drawn noise; both together have any length.
    """
    k, first = drawn.shape[1], axes.shape[1] - drawn.shape[1]
    _, rest = across(drawn, axes[:, 0])
    own = one_hot(torch.arange(k, device=axes.device), k)[:, None] * outside
    own = own * axes[:, None, None, first:].any(dim=4)
    turned = rest.norm(dim=2).double()[:, :, None, None] * unit(torch.cat([inside, own], dim=3))
    along = dot(drawn, axes[:, :1]).double()[:, :, None].expand(-1, -1, turned.shape[2], -1)
    return torch.cat([along, turned], dim=3)


def _best(utilities: Tensor, held: Tensor) -> Tensor:
    """One candidate a proposal, int64 (N, K).

    Args:
        utilities: float64 (N, F, K, C), of the candidates under F functions.
        held: float64 (N, F, 1), of the current image.
    """
    picked = []
    for own in utilities.unbind(dim=2):
        candidate = first_best_of(torch.maximum(own, held).mean(dim=1))
        picked.append(candidate)
        held = torch.maximum(held, own.gather(2, candidate[:, None, None].expand(-1, len(own[0]), 1)))
    return torch.stack(picked, dim=1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products over the last dimension, which is kept with a size of 1."""
    # A sum of products, not a matrix product: its result doesn't depend on the size of the batch.
    return (a * b).sum(dim=-1, keepdim=True)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (…, D) at a length of 1; zero stays zero."""
    return normalize(vectors, dim=-1)


def orthonormal(vectors: Tensor) -> Tensor:
    """Gram and Schmidt's: float (N, M, D) → unit vectors (N, M, D), each orthogonal to those before it.

    A vector that those before it span becomes zero.
    """
    axes: list[Tensor] = []
    for vector in vectors.unbind(dim=1):
        rest = vector
        for _ in range(2):  # Once would leave the rounding errors of nearly dependent vectors.
            for before in axes:
                rest = rest - dot(rest, before) * before
        new = rest.norm(dim=-1, keepdim=True) > _DEPENDENT * vector.norm(dim=-1, keepdim=True)
        axes.append(torch.where(new, unit(rest), torch.zeros_like(rest)))
    return torch.stack(axes, dim=1)


def across(noise: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Noise (N, K, D) as two parts that add up to it: along the current latents (N, D), and orthogonal to them.

    Turning the second part, at the same length, keeps a proposal's length and its likeness to the current latent as in
    Eq. 8. If directions and latents have no preferred orientation, proposals stay standard normal.
    """
    held = unit(latents)[:, None]
    along = dot(noise, held) * held
    return along, noise - along
