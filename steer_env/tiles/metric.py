"""The embedded metric: a small encoder trained on two-alternative forced choices about tilings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from steer_env import assets
from steer_env.types import Metric


@dataclass(frozen=True)
class EncoderConfig:
    """Architecture: channels of each strided stage, and the embedding's dimensions."""

    widths: tuple[int, ...] = (32, 64, 96, 128)
    dimensions: int = 96


class TileEncoder(nn.Module):
    """Strided convolutions; mean and maximum over the picture at the last two resolutions; a linear map."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, width, 3, stride=2, padding=1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.SiLU(),
            )
            for before, width in pairwise((3, *config.widths))
        )
        self.head = nn.Linear(2 * sum(config.widths[-2:]), config.dimensions)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] → unit vectors (B, dimensions)."""
        features, pooled = images * 2 - 1, []
        for stage in self.stages:
            features = stage(features)
            pooled += [features.mean(dim=(2, 3)), features.amax(dim=(2, 3))]
        return nn.functional.normalize(self.head(torch.cat(pooled[-4:], dim=1)), dim=1)


class TilePerceptualMetric(Metric):
    """A trained :class:`TileEncoder` as a metric; it computes where the pictures are."""

    def __init__(self, encoder: TileEncoder, id: str = "tile-perceptual") -> None:
        self.id, self.dimensions = id, encoder.config.dimensions
        self._encoder = encoder.eval()

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        return self._encoder.to(images.device)(images.float())

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, in float16."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(self._encoder.config), indent=2) + "\n")
        weights = {name: value.half().contiguous() for name, value in self._encoder.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path, id: str = "tile-perceptual") -> TilePerceptualMetric:
        """Read what :meth:`save` wrote; computes in float32."""
        config = json.loads((folder / "config.json").read_text())
        encoder = TileEncoder(EncoderConfig(tuple(config["widths"]), config["dimensions"]))
        encoder.load_state_dict(load_file(folder / "model.safetensors"))
        return cls(encoder, id)


def load() -> TilePerceptualMetric:
    """The embedded metric; a :class:`steer_env.assets.AssetError` for damaged weights."""
    folder = assets.verified(assets.ROOT / "tiles-metric")
    return TilePerceptualMetric.load(folder, id=f"tile-perceptual-{assets.version(folder)}")
