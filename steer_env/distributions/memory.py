"""A mechanism that remembers which directions the user liked."""

from __future__ import annotations

import torch
from torch import Tensor

from steer_env.distributions.comparisons import comparisons, shown
from steer_env.distributions.directions import across, dot, orthonormal, unit
from steer_env.proposals import mix
from steer_env.types import SteeringHistory


class MemoryMixture:
    """Mixtures whose noise leans towards what the user's choices preferred so far, and away from what they didn't.

    The liked direction is the sum, over all proposals that weren't taken, of the image preferred to it minus the
    proposal, as far as it is orthogonal to the current latent. The noise keeps its length and its component along the
    current latent; the rest of it is turned, to a cosine of ``strength`` with the liked direction. Without choices that
    prefer anything, in the first round above all, proposals are the mixture's. For users whose choices have nothing to
    do with the images, proposals are standard normal.

    Args:
        strength: in [0, 1); 0 only leaves out the little that the noise has of the liked direction by chance.

    Raises:
        ValueError: a strength out of range.
    """

    extra_images = 0

    def __init__(self, strength: float = 0.3) -> None:
        if not 0 <= strength < 1:
            raise ValueError(f"strength must be at least 0 and less than 1, got {strength}")
        self.strength, self.id = strength, f"memory-{strength:g}"

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.SteeringDistribution`."""
        images = shown(latents, history)
        liked = (comparisons(history).sum(dim=1)[:, :, None] * images).sum(dim=1)
        liked = orthonormal(torch.stack([images[:, -1], liked], dim=1))[:, 1:]
        along, rest = across(noise.flatten(2), images[:, -1])
        fresh = unit(rest - dot(rest, liked) * liked)
        leaning = unit(self.strength * liked + (1 - self.strength**2) ** 0.5 * fresh)
        turned = along + rest.norm(dim=-1, keepdim=True) * leaning
        known = liked.any(dim=2, keepdim=True)
        return mix(latents, torch.where(known, turned, noise.flatten(2)).reshape(noise.shape), scales)
