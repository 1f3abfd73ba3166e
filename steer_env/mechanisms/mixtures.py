"""Mixtures of the current latent with noise, the paper's mechanism (Eq. 8), and noise alone."""

from __future__ import annotations

from torch import Tensor

from steer_env.proposals import mix
from steer_env.types import SteeringHistory


class Mixture:
    """The paper's steering distribution: K independent mixtures of the current latent with fresh noise."""

    id, extra_images = "mixture", 0

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        return mix(latents, noise, scales)


class Fresh:
    """New images whatever was chosen and whatever the scale: an episode is the best of as many as are shown."""

    id, extra_images = "fresh", 0

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        return noise
