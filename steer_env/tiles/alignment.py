"""How well a tiling shows what its caption says, by drawings of the caption."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from steer_env.tiles import tilings
from steer_env.tiles.renderer import render
from steer_env.types import Alignment, Metric


class DrawnAlignment(Alignment):
    """For captions of tilings.

    A caption's embedding is the normalised mean of those of drawings that show what it names, and anything where it
    leaves a factor open.

    Args:
        metric: embeds images and drawings.
        image_shape: (3, S, S), of the drawings.
        drawings: of a caption.
    """

    def __init__(self, metric: Metric, image_shape: tuple[int, int, int], drawings: int = 16) -> None:
        self._metric, self._size, self._drawings = metric, image_shape[1], drawings
        self.id, self.dimensions = f"drawn-alignment-{drawings}-{metric.id}", metric.dimensions
        self._embedded = cache(self._embed_prompt)

    def embed(self, images: Tensor) -> Tensor:
        """See :class:`steer_env.types.Metric`."""
        return self._metric.embed(images)

    @torch.inference_mode()
    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """See :class:`steer_env.types.Alignment`.

        Raises:
            ValueError: a prompt that is no caption of a tiling.
        """
        return torch.stack([self._embedded(prompt) for prompt in prompts])

    def _embed_prompt(self, prompt: str) -> Tensor:
        rng = np.random.default_rng(zlib.crc32(prompt.encode()))
        named = np.tile(tilings.parse(prompt), (self._drawings, 1))
        drawn = rng.integers(0, tilings.CARDINALITIES, named.shape)
        factors = tilings.canonical(np.where(named == tilings.UNNAMED, drawn, named))
        found = self._metric.embed(render(factors, self._size, rng))
        return nn.functional.normalize(found.mean(dim=0), dim=0)
