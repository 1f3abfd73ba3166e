"""The renderer as a generator: another model of the same domain, whose pictures are flawless."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from steer_env.tiles import tilings
from steer_env.tiles.renderer import render
from steer_env.types import Conditioning


class DrawnTiles:
    """Draws the tiling that a full caption names; the latent settles the nuisance, see :class:`Nuisance`.

    Args:
        image_shape: (3, S, S).
        latent_shape: of the latents, of whose size nothing depends.
    """

    id = "drawn tiles"
    device = torch.device("cpu")
    max_batch = 256

    def __init__(self, image_shape: tuple[int, int, int], latent_shape: tuple[int, ...]) -> None:
        self.image_shape, self.latent_shape = image_shape, latent_shape

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """The factors that captions name.

        Raises:
            ValueError: a caption that leaves a factor open.
        """
        factors = np.stack([tilings.parse(prompt) for prompt in prompts])
        for prompt, row in zip(prompts, factors, strict=True):
            if (row == tilings.UNNAMED).any():
                raise ValueError(f"only full captions can be drawn, {prompt!r} leaves something open")
        return {"factors": torch.from_numpy(tilings.canonical(factors))}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """See :class:`steer_env.types.Generator`."""
        pairs = zip(latents.numpy(), conditioning["factors"].numpy(), strict=True)
        return torch.cat([self._draw(latent, factors) for latent, factors in pairs])

    def _draw(self, latent: np.ndarray, factors: np.ndarray) -> Tensor:
        seed = np.frombuffer(np.ascontiguousarray(latent).tobytes()[:16], dtype=np.uint32)
        return render(factors[None], self.image_shape[1], np.random.default_rng(seed))
