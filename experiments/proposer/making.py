"""What a prompt's images of a codebook of directions look like to a metric, learned from images of many prompts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from agents.proposer import Proposer, ProposerShape
from experiments.run.fitting import alikeness, embedding_loss, fit, in_parts
from steer_env import assets
from steer_env.dynamics import pooled
from steer_env.files import reading, write_atomically
from steer_env.generators import load_generator
from steer_env.generators.diffusion import DiffusionGenerator
from steer_env.mechanisms.directions import DirectionSteering
from steer_env.mechanisms.options import DirectionsOptions
from steer_env.mechanisms.predicted import EmbeddingPredictor
from steer_env.metrics import load_metric
from steer_env.tasks import load_suite
from steer_env.types import Conditioning, SteeringHistory

if TYPE_CHECKING:
    from experiments.proposer.__main__ import ProposerOptions

CODES = 16
"""Codes of each prompt."""
PREDICTED = 100
"""Number of the first shard of images that are predicted."""


@dataclass(frozen=True)
class Shard:
    """Of M prompts: conditioning (M, C), directions int64 (M, 16), and float (M, 16, D), embeddings of their images."""

    conditioning: Tensor
    codes: Tensor
    embeddings: Tensor

    def rows(self, rows: np.ndarray | slice) -> tuple[Tensor, Tensor, Tensor]:
        """Of some prompts."""
        return self.conditioning[rows], self.codes[rows], self.embeddings[rows]


def draw_codes(codes: int, size: int, seed: int) -> Tensor:
    """Unit vectors float32 (codes, size): directions of latents drawn from the prior."""
    drawn = torch.randn(codes, size, generator=torch.Generator().manual_seed(8_000_000 + seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def make_shard(
    config: ProposerOptions, index: int, generator: DiffusionGenerator, embed: Callable[[Tensor, Conditioning], Tensor]
) -> Shard:
    """Read the shard of that number, once it is made; the images are computed in bfloat16."""
    path, first = Path(config.work) / f"{index}.npy", index * config.prompts
    rng = np.random.default_rng([config.seed, 13, index])
    codes = np.stack([rng.choice(config.codes, CODES, replace=False) for _ in range(config.prompts)])
    conditioning = generator.encode([load_suite(config.suite)[first + place].prompt for place in range(config.prompts)])
    if not path.is_file():
        latents = _offered(config, index, codes, generator.latent_shape)
        rows = np.arange(config.prompts).repeat(CODES)
        of_images = {name: values[rows] for name, values in conditioning.items()}
        (made,) = in_parts(lambda *images: (embed(*images),), latents, of_images, generator.device)
        write_atomically(path, partial(np.save, arr=made.unflatten(0, codes.shape).numpy()))
    with reading(path):
        return Shard(pooled(conditioning), torch.from_numpy(codes), torch.from_numpy(np.load(path).astype(np.float32)))


def _offered(config: ProposerOptions, index: int, codes: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """Latents (M * 16, *shape) as env.action=directions offers them, with what it leaves to noise."""
    size = prod(shape)
    directions = draw_codes(config.codes, size, config.seed)[codes]
    # A mixture scale of 1: nothing is left of the image held.
    actions = torch.cat([torch.ones(*codes.shape, 1), directions], dim=2)
    noise = torch.randn(*codes.shape, *shape, generator=torch.Generator().manual_seed(9_000_000 + index))
    held, history = torch.zeros(len(codes), *shape), cast(SteeringHistory, None)
    return (
        DirectionSteering(shape, DirectionsOptions(size, config.leash))
        .propose(held, actions, noise, history)
        .flatten(0, 1)
    )


def train(config: ProposerOptions, proposer: Proposer, kinds: Sequence[Sequence[Shard]]) -> Proposer:
    """Fit expected embeddings to those of images, of each kind as often; resumes from its snapshot."""
    prompts = config.budget.batch_size // CODES

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([config.seed, 11, step])
        shards = kinds[int(rng.integers(len(kinds)))]
        shard = shards[int(rng.integers(len(shards)))]
        conditioning, codes, true = shard.rows(rng.choice(len(shard.codes), prompts, replace=False))
        return embedding_loss(proposer.expect(conditioning, codes).float(), true, config.likeness)

    fit(proposer, loss, config.budget, "proposer", Path(config.work) / "proposer.snapshot.pt")
    return proposer


@torch.no_grad()
def figures(proposer: Proposer, shard: Shard) -> dict[str, float]:
    """How well images are known beforehand of prompts that nothing was fitted to.

    Returns:
        ``cosine``, of expected and true embedding; ``correlation``, see
        :func:`experiments.run.fitting.alikeness`.
    """
    expected, true = proposer.expect(shard.conditioning, shard.codes), shard.embeddings
    return {
        "cosine": float(torch.cosine_similarity(expected, true, dim=2).mean()),
        "correlation": alikeness(expected, true),
    }


def make_proposer(config: ProposerOptions) -> dict[str, float]:
    """Make the images, fit, and write the warm start; returns its figures."""
    begun, generator, metric = time.monotonic(), load_generator("tiles"), load_metric("tile-perceptual")
    assert isinstance(generator, DiffusionGenerator)
    predictor = EmbeddingPredictor.load(assets.ROOT / "tiles-predictor")
    ways: dict[int, Callable[[Tensor, Conditioning], Tensor]] = {
        0: lambda latents, prompts: metric.embed(generator.generate(latents, prompts)),
        PREDICTED: lambda latents, prompts: predictor(generator.glimpse(latents, prompts).float()),
    }
    (first, *others), predicted = (
        [make_shard(config, start + index, generator, embed) for index in track(range(number), "images")]
        for number, (start, embed) in zip((config.made, config.shards), ways.items(), strict=True)
    )
    aside, rest = Shard(*first.rows(slice(config.held_out))), Shard(*first.rows(slice(config.held_out, None)))
    size = prod(generator.latent_shape)
    shape = ProposerShape(
        *(config.codes, size, first.conditioning.shape[1], metric.dimensions),
        len(config.hopes),
        config.leash,
        tuple(config.scales),
    )
    torch.manual_seed(config.seed)
    proposer = train(config, Proposer(shape, draw_codes(config.codes, size, config.seed)), [[rest, *others], predicted])
    with torch.no_grad():
        proposer.hope[:-1] = torch.tensor(config.hopes)[:, None]
    proposer.save(Path(config.target))
    return figures(proposer, aside) | {"minutes": (time.monotonic() - begun) / 60}
