"""The renderer as a generator whose pictures are flawless, and as a measure of how well pictures show captions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from steer_env.tiles import tilings
from steer_env.tiles.renderer import render
from steer_env.types import Alignment, Conditioning, Metric


class DrawnTiles:
    """Draws the tiling that a full caption names, (3, S, S); the latent, of any shape, decides the nuisance."""

    id = "drawn tiles"
    device = torch.device("cpu")
    max_batch = 256

    def __init__(self, image_shape: tuple[int, int, int], latent_shape: tuple[int, ...]) -> None:
        self.image_shape, self.latent_shape = image_shape, latent_shape

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """The factors that captions name; a ValueError where one leaves a factor open."""
        factors = np.stack([tilings.parse(prompt) for prompt in prompts])
        for prompt, row in zip(prompts, factors, strict=True):
            if (row == tilings.UNNAMED).any():
                raise ValueError(f"only full captions can be drawn, {prompt!r} leaves something open")
        return {"factors": torch.from_numpy(tilings.canonical(factors))}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        pairs = zip(latents.numpy(), conditioning["factors"].numpy(), strict=True)
        return torch.cat([self._draw(latent, factors) for latent, factors in pairs])

    def _draw(self, latent: np.ndarray, factors: np.ndarray) -> Tensor:
        seed = np.frombuffer(np.ascontiguousarray(latent).tobytes()[:16], dtype=np.uint32)
        return render(factors[None], self.image_shape[1], np.random.default_rng(seed))


class DrawnAlignment(Alignment):
    """How well a tiling shows its caption, as the metric's cosine between it and drawings of the caption, (3, S, S).

    A caption's embedding is the normalised mean of the embeddings of drawings, with any value of a factor that the
    caption leaves open.
    """

    def __init__(self, metric: Metric, image_shape: tuple[int, int, int], drawings: int = 16) -> None:
        self._metric, self._size, self._drawings = metric, image_shape[1], drawings
        self.id, self.dimensions = f"drawn-alignment-{drawings}-{metric.id}", metric.dimensions
        self._embedded = cache(self._embed_prompt)

    def embed(self, images: Tensor) -> Tensor:
        return self._metric.embed(images)

    @torch.inference_mode()
    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """As for :class:`steer_env.types.Alignment`; a ValueError for a prompt that is no caption of a tiling."""
        return torch.stack([self._embedded(prompt) for prompt in prompts])

    def _embed_prompt(self, prompt: str) -> Tensor:
        rng = np.random.default_rng(zlib.crc32(prompt.encode()))
        named = np.tile(tilings.parse(prompt), (self._drawings, 1))
        drawn = rng.integers(0, tilings.CARDINALITIES, named.shape)
        factors = tilings.canonical(np.where(named == tilings.UNNAMED, drawn, named))
        embedded = self._metric.embed(render(factors, self._size, rng))
        return nn.functional.normalize(embedded.mean(dim=0), dim=0)
