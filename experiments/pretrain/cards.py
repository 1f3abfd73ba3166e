"""Model cards: how the shipped weights were made, and how good they are."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

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


def write_cards(config: PretrainOptions, figures: dict[str, float]) -> None:
    """Write README.md and samples.png beside the weights, and renew the manifests."""
    target = Path(config.assets)
    folder, metric = target / "tiles-generator", target / "tiles-metric"
    steps = config.student.halvings[-1]
    generator = StableDiffusionGenerator(str(folder), steps, guidance_scale=1.0, device=config.device)
    named, free, captions = _samples(generator)
    _grid(named).save(folder / "samples.png")
    _grid(free).save(folder / "one-caption.png")
    rate = _rate(generator)
    (folder / "README.md").write_text(_generator_card(config, figures, captions, rate))
    (metric / "README.md").write_text(_metric_card(config, figures))
    for asset in (folder, metric):
        assets.write_manifest(asset)


def _samples(generator: StableDiffusionGenerator) -> tuple[Tensor, Tensor, list[str]]:
    """Images of full captions, images of one partial caption, and the captions."""
    rng = np.random.default_rng(0)
    n = _GRID * _GRID
    factors = tilings.sample_factors(n, rng)
    captions = [tilings.full_caption(row) for row in factors]
    seeds = [int(seed) for seed in rng.integers(2**31, size=n)]
    latents = draw_latents(seeds, generator.latent_shape).to(generator.device)
    partial = "stars, on a blue background"
    named = generator.generate(latents, generator.encode(captions))
    free = generator.generate(latents, generator.encode([partial] * n))
    return named, free, [*captions, partial]


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


def _generator_card(config: PretrainOptions, figures: dict[str, float], captions: list[str], rate: float) -> str:
    student = config.student
    readings = "\n".join(
        f"| {name} | {figures[f'{name}_read']:.1%} | {1 / values:.0%} |"
        for name, values in zip(tilings.FACTORS, tilings.CARDINALITIES, strict=True)
    )
    listing = "\n".join(f"{i + 1}. {caption}" for i, caption in enumerate(captions[:-1]))
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---

# tiles-generator

A small latent diffusion model of geometric tilings, {config.autoencoder.image_size} pixels a side, in Stable Diffusion
format: `StableDiffusionPipeline.from_pretrained` reads this folder. It exists so that steering policies can be
trained and compared on a laptop, without a network; it makes nothing but tilings.

Sample with **{student.halvings[-1]} steps and guidance_scale=1**: it is a student distilled from a guided teacher, so
guidance is already inside it, and more of it, or other numbers of steps, make worse pictures.

![samples](samples.png)

The captions of the samples, row by row, are listed below. What a caption leaves out, the noise decides; here is
“{captions[-1]}” with {_GRID * _GRID} noises:

![one caption](one-caption.png)

## How it was made

`python -m experiments.pretrain assets=steer_env/assets`, seed {config.seed}, on {config.device},
torch {torch.__version__}.
All images were drawn by the project's own renderer (`steer_env/tiles/renderer.py`); no photograph, no person's work
and no other model was used. Captions name a random subset of a tiling's eight factors. Licence: Apache-2.0.

1. Autoencoder (`AutoencoderTiny`, four pixels to a latent cell): {_budget(config.autoencoder.budget)}, L1, L2 and
   edge loss. Reconstruction of fresh tilings: {figures["autoencoder_psnr_db"]:.1f} dB.
2. Teacher (text encoder and UNet, velocity prediction, zero terminal signal): {_budget(config.denoiser.budget)} on
   {config.denoiser.images:,} tilings, every shape where it belongs (`denoiser.nuisance`).
3. Student: progressive distillation of the teacher, guided at {student.guidance_scale}, to
   {" and then ".join(map(str, student.halvings))} unguided steps, {_budget(student.budget)} each.

Speed where this card was written ({torch.get_num_threads()} threads of a CPU, float32, batch 64): {rate:.0f} images/s.

## Do the pictures show what the captions say?

{config.held_out_captions:,} pictures of full captions were compared with drawings of every value of each factor, the
other factors being as captioned (`experiments/pretrain/fidelity.py`). Share of them that look most like the value
named (standard error at most {(0.25 / config.held_out_captions) ** 0.5:.1%}; rotation and alternation only where they
can be seen):

| factor | read rightly | by chance |
|---|---|---|
{readings}

Words outside the vocabulary of `steer_env/tiles/tilings.py` count as unknown.

## Captions of the samples

{listing}
"""


def _metric_card(config: PretrainOptions, figures: dict[str, float]) -> str:
    rows = [
        ("this encoder", "encoder"),
        ("the same network, untrained", "untrained"),
        ("pixels, mean squared error", "mse"),
        ("SSIM", "ssim"),
    ]
    table = "\n".join(
        f"| {title} | {figures[f'{name}_accuracy_rendered']:.1%} | {figures[f'{name}_accuracy_generated']:.1%} |"
        for title, name in rows
    )
    error = (0.25 / config.held_out_trials) ** 0.5
    return f"""---
license: apache-2.0
---

# tiles-metric

A small perceptual encoder for geometric tilings: the cosine of two embeddings is the similarity of two pictures. It
was trained in the manner of DreamSim, by hinge loss on two-alternative forced choices, but it isn't DreamSim, has seen
no human judgement, and means nothing outside tilings.

The answers to its trials come from the known factors of variation: of two alternatives, the one at the smaller
weighted factor distance is nearer to the reference (weights in `experiments/pretrain/perceptual.py`, colours compared
in CIELAB). Half of the trials show rendered pictures, half pictures of the generator, made for full captions.

Share of {config.held_out_trials:,} held-out trials answered rightly (standard error at most {error:.1%}):

| similarity | rendered | generated |
|---|---|---|
{table}

On generated pictures the answer comes from the caption, which the generator doesn't always follow.

Made by `python -m experiments.pretrain assets=steer_env/assets`, seed {config.seed}:
{_budget(config.perceptual.budget)} (an example is a trial of three pictures),
margin {config.perceptual.margin}. Licence: Apache-2.0.
"""


def _budget(budget: object) -> str:
    values = asdict(budget)  # type: ignore[call-overload]
    return f"{values['steps']:,} steps of {values['batch_size']}"
