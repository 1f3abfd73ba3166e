"""A GPU that isn't there: a generator that waits as long as it would compute."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from steer_env.types import Conditioning

IMAGES = 10
"""Of an episode with 4 rounds of 2 proposals, its goal and its first image among them."""


class WaitingGenerator:
    """Waits for each image, and gives a few pixels of the latent for it. Sizes are those of Stable Diffusion 1.4.

    Args:
        seconds: for an image, whatever the size of the batch.
    """

    device, max_batch = torch.device("cpu"), 10_000
    latent_shape, image_shape = (4, 64, 64), (3, 8, 8)

    def __init__(self, seconds: float) -> None:
        self._seconds, self.id = seconds, f"waits {seconds:g} s an image"

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts mean nothing to it."""
        return {"prompt_embeds": torch.zeros(len(prompts), 77, 768)}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """See :class:`steer_env.types.Generator`."""
        time.sleep(self._seconds * len(latents))
        return latents[:, :3, :8, :8].sigmoid()
