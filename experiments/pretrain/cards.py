"""Model cards: how the shipped weights were made, and how good they are."""

from __future__ import annotations

import math
import timeit
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from experiments.pretrain.options import PretrainOptions
from experiments.pretrain.perceptual import Picture
from experiments.pretrain.stages import painter
from steer_env import assets
from steer_env.tiles import tilings

_GRID = 6
_PARTIAL = "stars, on a blue background"
_RIVALS = {
    "encoder": "this encoder",
    "untrained": "the same network, untrained",
    "mse": "pixels, mean squared error",
    "ssim": "SSIM",
}


def write_cards(config: PretrainOptions, figures: dict[str, float]) -> None:
    """Write README.md and samples.png beside the weights, and renew the manifests."""
    folder, metric = (Path(config.assets) / name for name in ("tiles-generator", "tiles-metric"))
    picture, (captions, seeds) = painter(config), _samples()
    _grid(picture(captions, seeds)).save(folder / "samples.png")
    _grid(picture([_PARTIAL] * len(seeds), seeds)).save(folder / "one-caption.png")
    chances = zip(tilings.FACTORS, tilings.CARDINALITIES, strict=True)
    card = _card(
        "generator",
        config=config,
        figures=figures,
        steps=config.student.halvings[-1],
        halvings=" and then ".join(map(str, config.student.halvings)),
        samples=len(captions),
        partial=_PARTIAL,
        listing="\n".join(f"{i}. {caption}" for i, caption in enumerate(captions, start=1)),
        readings="\n".join(
            f"| {name} | {figures[f'{name}_read']:.1%} | {1 / values:.0%} |" for name, values in chances
        ),
        error=_error(config.held_out_captions),
        rate=_rate(picture),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    (folder / "README.md").write_text(card)
    rows = []
    for name, title in _RIVALS.items():
        rendered, generated = (figures[f"{name}_accuracy_{kind}"] for kind in ("rendered", "generated"))
        rows.append(f"| {title} | {rendered:.1%} | {generated:.1%} |")
    card = _card("metric", config=config, table="\n".join(rows), error=_error(config.held_out_trials))
    (metric / "README.md").write_text(card)
    for asset in (folder, metric):
        assets.write_manifest(asset)


def _samples() -> tuple[list[str], list[int]]:
    """Full captions and seeds."""
    rng = np.random.default_rng(0)
    captions = [tilings.full_caption(row) for row in tilings.sample_factors(_GRID * _GRID, rng)]
    return captions, rng.integers(2**31, size=len(captions)).tolist()


def _grid(images: Tensor) -> Image.Image:
    side = images.shape[-1]
    rows = images.unflatten(0, (_GRID, _GRID)).permute(0, 3, 1, 4, 2).reshape(_GRID * side, _GRID * side, 3)
    sheet = Image.fromarray((rows.numpy() * 255).round().astype(np.uint8))
    return sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST)


def _rate(picture: Picture, batch: int = 64, repeats: int = 5) -> float:
    """Images a second, the median of a few batches after one that isn't counted."""
    seconds = timeit.repeat(lambda: picture(["stars"] * batch, list(range(batch))), repeat=repeats + 1, number=1)
    return batch / float(np.median(seconds[1:]))


def _card(name: str, **values: Any) -> str:
    return Path(__file__).with_name(f"{name}_card.md").read_text().format(**values)


def _error(n: int) -> float:
    """The largest standard error of a share of n."""
    return math.sqrt(0.25 / n)
