"""Steering distributions that are mixtures of the current latent with noise, as the paper's is (Eq. 8)."""

from __future__ import annotations

from torch import Tensor

from steer_env.distributions.directions import orthonormal
from steer_env.proposals import mix
from steer_env.types import SteeringHistory


class Mixture:
    """The paper's steering distribution: K independent mixtures of the current latent with fresh noise."""

    id, extra_images = "mixture", 0

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.SteeringDistribution`; the history isn't used."""
        return mix(latents, noise, scales)


class AntitheticMixture:
    """Mixtures whose noise comes in opposite pairs, ε and −ε, so that the proposals of a pair differ as they can."""

    id, extra_images = "antithetic", 0

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.SteeringDistribution`; every second noise is the one before, negated."""
        paired = noise.clone()
        paired[:, 1::2] = -noise[:, : noise.shape[1] - noise.shape[1] % 2 : 2]
        return mix(latents, paired, scales)


class OrthogonalMixture:
    """Mixtures whose noises are orthogonal to one another, each as long as it was drawn.

    By themselves independent noises come close to that in many dimensions: their cosine has a standard deviation of one
    over the square root of the latent's size. They aren't made orthogonal to the current latent, too: the length of a
    proposal would spread less than that of a standard normal latent.
    """

    id, extra_images = "orthogonal", 0

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.SteeringDistribution`; the history isn't used.

        Raises:
            ValueError: more proposals than the latent has dimensions.
        """
        drawn = noise.flatten(2)
        proposals, size = drawn.shape[1:]
        if proposals > size:
            raise ValueError(f"at most {size} proposals can be orthogonal in latents of size {size}, got {proposals}")
        turned = orthonormal(drawn) * drawn.norm(dim=2, keepdim=True)
        return mix(latents, turned.reshape(noise.shape), scales)
