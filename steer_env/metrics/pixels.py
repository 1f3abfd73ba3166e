"""A metric without any learning, to compare with learned ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from steer_env.metrics.options import PixelOptions
from steer_env.types import Metric


class PixelCorrelation(Metric):
    """Correlation of two pictures' pixels after blurring; see :class:`steer_env.metrics.options.PixelOptions`.

    A uniformly grey picture has similarity 0 to every other.
    """

    id = "pixel-correlation"

    def __init__(self, grid: int = PixelOptions.grid) -> None:
        PixelOptions(grid)
        self.grid = grid
        self.dimensions = 3 * grid * grid

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(images.float(), self.grid).flatten(1)
        centred = pooled - pooled.mean(dim=1, keepdim=True)
        return nn.functional.normalize(centred, dim=1)
