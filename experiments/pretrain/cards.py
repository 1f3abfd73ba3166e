"""Model cards: how the shipped weights were made, and how good they are."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from experiments.pretrain.options import PretrainOptions
from steer_env import assets
from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.proposals import draw_latents
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
    steps = config.student.halvings[-1]
    generator = StableDiffusionGenerator(str(folder), steps, guidance_scale=1.0, device=config.device)
    named, free, captions = _samples(generator)
    _grid(named).save(folder / "samples.png")
    _grid(free).save(folder / "one-caption.png")
    chances = zip(tilings.FACTORS, tilings.CARDINALITIES, strict=True)
    card = _card(
        "generator",
        config=config,
        figures=figures,
        steps=steps,
        halvings=" and then ".join(map(str, config.student.halvings)),
        samples=len(captions),
        partial=_PARTIAL,
        listing="\n".join(f"{i}. {caption}" for i, caption in enumerate(captions, start=1)),
        readings="\n".join(
            f"| {name} | {figures[f'{name}_read']:.1%} | {1 / values:.0%} |" for name, values in chances
        ),
        error=_error(config.held_out_captions),
        rate=_rate(generator),
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


def _samples(generator: StableDiffusionGenerator) -> tuple[Tensor, Tensor, list[str]]:
    """Images of full captions, images of one partial caption, and the full captions."""
    rng = np.random.default_rng(0)
    n = _GRID * _GRID
    factors = tilings.sample_factors(n, rng)
    captions = [tilings.full_caption(row) for row in factors]
    seeds = [int(seed) for seed in rng.integers(2**31, size=n)]
    latents = draw_latents(seeds, generator.latent_shape).to(generator.device)
    named = generator.generate(latents, generator.encode(captions))
    free = generator.generate(latents, generator.encode([_PARTIAL] * n))
    return named, free, captions


def _grid(images: Tensor) -> Image.Image:
    side = images.shape[-1]
    rows = images.cpu().unflatten(0, (_GRID, _GRID)).permute(0, 3, 1, 4, 2).reshape(_GRID * side, _GRID * side, 3)
    picture = Image.fromarray((rows.numpy() * 255).round().astype(np.uint8))
    return picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST)


def _rate(generator: StableDiffusionGenerator, batch: int = 64, repeats: int = 5) -> float:
    """Images a second, the median of a few batches."""
    latents = draw_latents(list(range(batch)), generator.latent_shape).to(generator.device)
    conditioning = generator.encode(["stars"] * batch)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        generator.generate(latents, conditioning).cpu()
        seconds.append(time.perf_counter() - start)
    return batch / float(np.median(seconds[1:]))


def _card(name: str, **values: Any) -> str:
    return Path(__file__).with_name(f"{name}_card.md").read_text().format(**values)


def _error(n: int) -> float:
    """The largest standard error of a share of n."""
    return math.sqrt(0.25 / n)
