"""What all generators of latents share: batches that fit into the memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from steer_env.generators.checkpoints import pipeline_fingerprint
from steer_env.generators.speed import fitting_batch
from steer_env.types import Conditioning

_LOG = logging.getLogger(__name__)
TRIED_STEPS, TRIED_PROMPTS = 4, ("a star", "")
"""Steps and prompts of the images that a checkpoint makes when it is loaded."""


class BatchedGenerator:
    """A generator that makes at most ``max_batch`` images at a time, and fewer where the memory doesn't suffice.

    A subclass sets the attributes, and makes the images of one batch in :meth:`_sample`.
    """

    id: str
    latent_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    max_batch: int
    device: torch.device
    pipeline: Any
    """Of diffusers."""

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """See :class:`steer_env.types.Generator`."""
        raise NotImplementedError

    def _sample(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents (B, *latent_shape) and as many rows of conditioning → images float32 (B, 3, H, W) in [0, 1]."""
        raise NotImplementedError

    def _fitting_batch(self) -> int:
        """How many images fit into the device's memory."""
        return fitting_batch(self.device, self._peak)

    @cached_property
    def _weights(self) -> str:
        return pipeline_fingerprint(self.pipeline)

    @torch.inference_mode()
    def _peak(self, images: int) -> int:
        """Most bytes of a GPU while it makes so many images."""
        latents, conditioning = torch.zeros(images, *self.latent_shape).to(self.device), self.encode([""] * images)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self._sample(latents, conditioning)
        return torch.cuda.max_memory_allocated(self.device) - before

    @torch.inference_mode()
    def generate(self, latents: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        """Standard normal latents (B, *latent_shape) → images float32 (B, 3, H, W) in [0, 1].

        Raises:
            ValueError: latents of another shape, or conditioning with another number of rows.
        """
        rows = len(next(iter(conditioning.values())))
        if tuple(latents.shape[1:]) != self.latent_shape or rows != len(latents):
            expected = f"({rows}, {', '.join(map(str, self.latent_shape))})"
            raise ValueError(f"latents for {rows} prompts must have shape {expected}, got {tuple(latents.shape)}")
        images: list[Tensor] = []
        start = 0
        while start < len(latents):
            part = slice(start, start + self.max_batch)
            try:
                images.append(self._sample(latents[part], {k: v[part] for k, v in conditioning.items()}))
            except torch.OutOfMemoryError:
                if self.max_batch == 1:
                    raise
                self.max_batch //= 2
                torch.cuda.empty_cache()
                _LOG.warning("not enough memory on %s: going on with %d images at a time", self.device, self.max_batch)
            else:
                start = part.stop
        return torch.cat(images)


def check_images(path: str, first: Tensor, again: Tensor, alone: Tensor, dtype: torch.dtype, source: str) -> None:
    """Refuse a checkpoint whose images latents and prompts don't decide.

    Args:
        path: of the checkpoint.
        first, again: the same images, float (B, 3, H, W), made twice.
        alone: the first of them, (1, 3, H, W), made alone.
        dtype: of the weights, which decides how large rounding errors are.
        source: what may draw at random, and what to do about it.

    Raises:
        ValueError: in one line, what is wrong.
    """
    if not bool(torch.isfinite(first).all()):
        advice = "" if dtype == torch.float32 else f" in {str(dtype).removeprefix('torch.')}: set dtype=float32"
        raise ValueError(f"{path} makes pixels that aren't finite{advice}")
    if not torch.equal(first, again):
        raise ValueError(f"{path} makes other images of the same latents and prompts each time: {source}")
    if (gap := mean_gap(first[:1], alone)) > TOLERANCE[dtype]:
        raise ValueError(
            f"{path} makes another image in a batch than alone, {gap:.2g} apart in the mean of all pixels: what else "
            "is in a batch changes it"
        )


def trial_latents(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal (2, *shape), always the same."""
    return torch.randn(len(TRIED_PROMPTS), *shape, generator=torch.Generator().manual_seed(0)).to(device)


def mean_gap(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of two pictures' pixels."""
    return float((one.float() - other.float()).abs().mean())


TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.03, torch.float16: 0.01}
"""Largest mean difference of pixels, in [0, 1], that rounding may cause, by the precision of the weights."""
