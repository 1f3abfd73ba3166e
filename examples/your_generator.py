"""A generator of your own in 20 lines, checked and steered.

Run it with ``python examples/your_generator.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from steer_env.testing import check_generator
from steer_env.types import Conditioning


class Blots:
    """Blots of colour: the latent is a coarse picture of them, and the prompt tints it.

    A generator fulfils :class:`steer_env.types.Generator`; ``steer_env.testing.check_generator`` says whether it does.
    """

    id, device, max_batch = "blots", torch.device("cpu"), 256
    latent_shape, image_shape = (3, 8, 8), (3, 32, 32)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """A tint (B, 3) that depends on the words alone."""
        seeds = [zlib.crc32(prompt.encode()) for prompt in prompts]
        tints = [torch.randn(3, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return {"tint": torch.stack(tints)}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """Images (B, 3, 32, 32) in (0, 1)."""
        blots = interpolate(latents, self.image_shape[1:], mode="bilinear")
        return (blots + conditioning["tint"][:, :, None, None]).sigmoid()


def improvement(scale: float = 0.7, episodes: int = 64) -> float:
    """Mean improvement of a constant mixture scale, for users who compare pixels."""
    env = gym.make_vec(
        "steer_env/ImageSteering-v0", num_envs=episodes, generator=Blots(), metric="pixel-correlation", action="scale"
    )
    env.reset(seed=0)
    for _ in range(4):
        rewards = env.step(np.full((episodes, 1), scale, dtype=np.float32))[1]
    return float(rewards.mean())


if __name__ == "__main__":
    check_generator(Blots())
    print(f"{Blots.id}: {improvement():+.3f}")
