"""A GPU that isn't there: parts that wait as long as it would compute, and a player that doesn't play at all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from steer_env.evaluation.collectors import Batch
from steer_env.evaluation.suites import Player
from steer_env.traces import SteeringTrace
from steer_env.types import Conditioning

IMAGES = 10
"""Of an episode with 4 rounds of 2 proposals, its goal and its first image among them."""


class WaitingGenerator:
    """Waits for each image, and gives a few pixels of the latent for it.

    Args:
        seconds: for an image, whatever the size of the batch.
    """

    device, max_batch = torch.device("cpu"), 10_000
    latent_shape, image_shape = (4, 8, 8), (3, 8, 8)

    def __init__(self, seconds: float) -> None:
        self._seconds, self.id = seconds, f"waits {seconds:g} s an image"

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts mean nothing to it."""
        return {"none": torch.zeros(len(prompts), 1)}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """See :class:`steer_env.types.Generator`."""
        time.sleep(self._seconds * len(latents))
        return latents[:, :3].sigmoid()


class Echo(Player):
    """Answers every batch with the episodes of the first, and plays no other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._played: list[SteeringTrace] = []

    def __call__(self, batch: Batch) -> list[SteeringTrace]:
        """As many traces as the batch has tasks."""
        self._played = self._played or super().__call__(batch)
        return self._played
