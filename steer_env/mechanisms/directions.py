"""Mechanisms whose proposals a policy decides: by coordinates in a low-frequency basis, or as latents."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import prod, sqrt

import numpy as np
import torch
from torch import Tensor

from steer_env.mechanisms.options import DirectionsOptions, ProposalsOptions
from steer_env.proposals import mix
from steer_env.types import SteeringHistory

LATENT_UNIT = 5.0
"""Standard deviations that an entry of 1 stands for in the action of :class:`LatentSteering`."""


class DirectionSteering:
    """Mixtures of the current latent with noise whose low frequencies a policy directs.

    An action holds, for each proposal, 1 + d entries a in [−1, 1]. The first is the mixture scale, (1 + a) / 2. The
    others are coordinates c = λ √d a in the basis of :func:`low_frequencies`, cut where they are longer than λ √d; λ
    is the leash. The noise ε of Eq. 8 keeps its other coordinates, and has c + √(1 − q) ε in place of these, with
    q = |c|² / d ≤ λ²: what the policy doesn't decide of them is noise. So a noise's expected square is that of standard
    normal noise whatever the policy does, its divergence from it is −(d/2) ln(1 − q) nats, and with coordinates of 0
    proposals are the mixture's.

    Args:
        shape: of a latent.
        options: d, and the leash λ.

    Raises:
        ValueError: more dimensions than a latent has.
    """

    extra_images = 0

    def __init__(self, shape: tuple[int, ...], options: DirectionsOptions) -> None:
        self._basis = torch.from_numpy(low_frequencies(shape, options.dimensions))
        self.dimensions, self.leash = options.dimensions, options.leash
        self.id = f"directions:dimensions={self.dimensions},leash={self.leash:g}"

    def action_shape(self, proposals: int) -> tuple[int, ...]:
        """(K, 1 + d)."""
        return proposals, 1 + self.dimensions

    def decided(self, actions: Tensor) -> Tensor:
        """The mean over proposals of q, float (N,): 0 for the mixture, λ² at most."""
        return (self._means(actions).square().mean(dim=-1)).mean(dim=-1)

    def _means(self, actions: Tensor) -> Tensor:
        """Coordinates c, (…, d)."""
        directions = actions[..., 1:].float()
        length = directions.norm(dim=-1, keepdim=True).clamp(min=1)
        return self.leash * sqrt(self.dimensions) * directions / length

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.DirectedMechanism`."""
        basis, means = self._basis.to(noise), self._means(scales)
        drawn = _along(noise.flatten(2), basis)
        share = means.square().mean(dim=-1, keepdim=True)
        turned = means + (1 - share).sqrt() * drawn - drawn
        directed = noise + _spanned(turned, basis).reshape(noise.shape)
        n, k = noise.shape[:2]
        held = latents[:, None].expand(n, k, *latents.shape[1:]).flatten(0, 1)
        own = (1 + scales[..., 0]).flatten() / 2
        return mix(held, directed.flatten(0, 1)[:, None], own).reshape(noise.shape)


class LatentSteering:
    """Proposals are a policy's own latents.

    An action holds the K latents in units of five standard deviations. A latent that is longer than the leash times
    √D, the length of a typical one of D entries, is cut there. Nothing else keeps proposals near the prior.

    Args:
        shape: of a latent.
        options: the leash, in units of √D; 0 for none.
    """

    extra_images = 0

    def __init__(self, shape: tuple[int, ...], options: ProposalsOptions) -> None:
        self._shape, self.leash = shape, options.leash
        self.id = f"proposals:leash={self.leash:g}"

    def action_shape(self, proposals: int) -> tuple[int, ...]:
        """(K, *latent_shape)."""
        return proposals, *self._shape

    def decided(self, actions: Tensor) -> Tensor:
        """The mean square of the proposals' entries, float (N,): 1 for standard normal ones."""
        return self._latents(actions.float()).flatten(1).square().mean(dim=1)

    def _latents(self, actions: Tensor) -> Tensor:
        latents = LATENT_UNIT * actions.flatten(2)
        if self.leash:
            longest = self.leash * sqrt(latents.shape[2])
            latents = latents * (longest / latents.norm(dim=2, keepdim=True).clamp(min=longest))
        return latents.reshape(actions.shape)

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.DirectedMechanism`; the noise isn't used."""
        return self._latents(scales.to(latents))


@lru_cache(maxsize=8)
def low_frequencies(shape: tuple[int, ...], dimensions: int) -> np.ndarray:
    """The first functions of the discrete cosine transform over all axes but the first, of each channel in turn.

    Args:
        shape: (C, …), of a latent; one of a single axis is a channel.
        dimensions: d.

    Returns:
        float32 (d, D), orthonormal, by rising frequency.

    Raises:
        ValueError: more dimensions than a latent has.
    """
    if not 1 <= dimensions <= prod(shape):
        raise ValueError(f"dimensions must be 1 to {prod(shape)}, the size of a latent, got {dimensions}")
    from scipy.fft import idctn

    channels, *sizes = shape if len(shape) > 1 else (1, *shape)
    frequencies = sorted(product(*map(range, sizes)), key=lambda place: (sum(f * f for f in place), place))
    rows = []
    for place in frequencies[: -(-dimensions // channels)]:
        spectrum = np.zeros(sizes)
        spectrum[place] = 1
        rows.append(np.kron(np.eye(channels), idctn(spectrum, norm="ortho").ravel()))
    return np.concatenate(rows)[:dimensions].astype(np.float32)


def _along(vectors: Tensor, basis: Tensor) -> Tensor:
    """Coordinates (N, K, d) of vectors (N, K, D); no episode's depend on the others' in the last digit."""
    return torch.stack([each @ basis.T for each in vectors])


def _spanned(coordinates: Tensor, basis: Tensor) -> Tensor:
    """The inverse: vectors (N, K, D)."""
    return torch.stack([each @ basis for each in coordinates])
