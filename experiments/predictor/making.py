"""What images will look like to a metric, learned from pairs of noise and image: shard by shard, with snapshots."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from experiments.run.fitting import alikeness, embedding_loss, fit, in_parts
from steer_env import assets
from steer_env.files import reading, write_atomically
from steer_env.generators import load_generator
from steer_env.generators.diffusion import DiffusionGenerator
from steer_env.mechanisms.predicted import EmbeddingPredictor, PredictorConfig
from steer_env.metrics import load_metric
from steer_env.tasks import load_suite
from steer_env.types import Conditioning, Metric

if TYPE_CHECKING:
    from experiments.predictor.__main__ import PredictorOptions

_LATENTS = 8
"""Images of each prompt."""
_STREAM = 7_000_000
"""Seed of the first shard's latents; the others' follow."""


@dataclass(frozen=True)
class Shard:
    """Float16 activations (B, C, h, w) and embeddings (B, D), the images of a prompt one after the other."""

    activations: np.ndarray
    embeddings: np.ndarray

    def rows(self, rows: np.ndarray | slice) -> tuple[Tensor, Tensor]:
        """Float32 activations and embeddings of some images."""
        read = (values[rows].astype(np.float32) for values in (self.activations, self.embeddings))
        activations, embeddings = map(torch.from_numpy, read)
        return activations, embeddings


def make_shard(config: PredictorOptions, index: int, generator: DiffusionGenerator, metric: Metric) -> Shard:
    """Read the shard of that number, once it is made; the images are computed in bfloat16."""
    folder = Path(config.work)
    activations, embeddings = folder / f"{index}.up.npy", folder / f"{index}.emb.npy"
    if not embeddings.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        places = range(index * config.prompts, (index + 1) * config.prompts)
        prompts = [load_suite(config.suite)[place].prompt for place in places for _ in range(_LATENTS)]
        noise = torch.Generator().manual_seed(_STREAM + index)
        latents = torch.randn(len(prompts), *generator.latent_shape, generator=noise)

        def pairs(some: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
            return generator.glimpse(some, conditioning), metric.embed(generator.generate(some, conditioning))

        made = in_parts(pairs, latents, generator.encode(prompts), generator.device)
        for path, values in zip((activations, embeddings), made, strict=True):
            write_atomically(path, partial(np.save, arr=values.numpy()))
    with reading(activations):
        read = np.load(activations, mmap_mode="r")
    with reading(embeddings):
        return Shard(read, np.load(embeddings, mmap_mode="r"))


def train(config: PredictorOptions, architecture: PredictorConfig, shards: list[Shard]) -> EmbeddingPredictor:
    """Fit expected embeddings to those of images; resumes from its snapshot."""
    torch.manual_seed(config.seed)
    predictor, prompts = EmbeddingPredictor(architecture), config.budget.batch_size // _LATENTS

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([config.seed, 11, step])
        shard = shards[rng.integers(len(shards))]
        first = np.sort(rng.choice(len(shard.embeddings) // _LATENTS, prompts, replace=False)) * _LATENTS
        activations, target = shard.rows((first[:, None] + np.arange(_LATENTS)).ravel())
        expected = predictor(activations).float()
        of_prompt, true = (values.unflatten(0, (-1, _LATENTS)) for values in (expected, target))
        return embedding_loss(of_prompt, true, config.likeness)

    fit(predictor, loss, config.budget, "predictor", Path(config.work) / "predictor.snapshot.pt")
    return predictor


@torch.no_grad()
def figures(predictor: EmbeddingPredictor, shard: Shard) -> dict[str, float]:
    """How well images are known beforehand that nothing was fitted to.

    Returns:
        ``cosine``, of expected and true embedding; ``length``, of the expected one; ``correlation``, see
        :func:`experiments.run.fitting.alikeness`.
    """
    activations, true = shard.rows(slice(None))
    expected = torch.cat([predictor(part) for part in activations.split(256)])
    of_prompt, truth = (values.unflatten(0, (-1, _LATENTS)) for values in (expected, true))
    return {
        "cosine": float(torch.cosine_similarity(expected, true).mean()),
        "length": float(expected.norm(dim=1).mean()),
        "correlation": alikeness(of_prompt, truth),
    }


def cost(generator: DiffusionGenerator, predictor: EmbeddingPredictor) -> float:
    """Multiplications of a prediction over those of one pass of the denoiser."""
    latents, conditioning = torch.zeros(1, *generator.latent_shape), generator.encode([""])
    with torch.inference_mode(), FlopCounterMode(display=False) as predicted:
        predictor(generator.glimpse(latents.to(generator.device), conditioning).cpu())
    with torch.inference_mode(), FlopCounterMode(display=False) as passed:
        generator.pipeline.unet(latents.to(generator.device), 0, conditioning["prompt_embeds"])
    return predicted.get_total_flops() / passed.get_total_flops()


def make_predictor(config: PredictorOptions) -> dict[str, float]:
    """Make the pairs, fit, and write the asset with its card; returns the card's figures."""
    start, generator, metric = time.monotonic(), load_generator("tiles"), load_metric("tile-perceptual")
    assert isinstance(generator, DiffusionGenerator)
    first, *others = (make_shard(config, index, generator, metric) for index in track(range(config.shards), "pairs"))
    held = config.held_out * _LATENTS
    aside, rest = (Shard(first.activations[p], first.embeddings[p]) for p in (slice(held), slice(held, None)))
    _, channels, height, width = first.activations.shape
    architecture = PredictorConfig(generator.id, metric.id, 0.0, channels, height * width, metric.dimensions)
    architecture = PredictorConfig(**{**vars(architecture), "share": cost(generator, EmbeddingPredictor(architecture))})
    predictor = train(config, architecture, [rest, *others])
    known = figures(predictor, aside) | {"minutes": (time.monotonic() - start) / 60}
    folder = Path(config.assets) / "tiles-predictor"
    predictor.save(folder)
    (folder / "README.md").write_text(card(config, architecture, known))
    assets.write_manifest(folder)
    return known


def card(config: PredictorOptions, architecture: PredictorConfig, known: dict[str, float]) -> str:
    """The asset's README.md."""
    text, images = Path(__file__).with_name("card.md").read_text(), config.shards * config.prompts - config.held_out
    values = {"latents": _LATENTS, "images": images * _LATENTS, "prompts": config.budget.batch_size // _LATENTS}
    return text.format(config=config, architecture=architecture, known=known, **values)
