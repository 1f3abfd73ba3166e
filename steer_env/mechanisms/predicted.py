"""Images as a metric would see them, predicted from what a denoiser's first blocks make of noise."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from steer_env import assets
from steer_env.compatibility import reason
from steer_env.mechanisms.bayesian import BayesianSteering
from steer_env.mechanisms.hypotheses import Hypotheses, draw_pools
from steer_env.mechanisms.options import BayesianOptions, FeedbackOptions, LearnedOptions
from steer_env.registry import checked_options
from steer_env.ties import first_best_of
from steer_env.types import Conditioning, Generator, GlimpsingGenerator, Metric, Studio

_AT_A_TIME = 64
"""Latents of one episode that the denoiser glimpses at together, so that no episode depends on its batch."""


@dataclass(frozen=True)
class PredictorConfig:
    """What a predictor predicts, and its architecture.

    Args:
        generator: id of the generator whose images they are, up to the first space: without its settings.
        metric: id of the metric whose embeddings they are.
        share: what a prediction costs, in passes of the denoiser, by the count of multiplications.
        activations: C, channels of what the denoiser's first blocks make.
        cells: h · w of them.
        dimensions: D, of the embedding.
        channels: of the two layers that look at each cell alone.
        placed: channels of them that keep their place; of all, mean and largest go on.
        width: of the two hidden layers after that.
    """

    generator: str
    metric: str
    share: float
    activations: int
    cells: int
    dimensions: int
    channels: int = 192
    placed: int = 16
    width: int = 512


class EmbeddingPredictor(nn.Module):
    """Activations (B, C, h, w) → expected embeddings (B, D), which are shorter than 1 by what isn't known."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        pooled = 2 * config.channels + config.placed * config.cells
        self.cell = nn.Sequential(
            nn.GroupNorm(min(16, config.activations), config.activations),
            nn.Conv2d(config.activations, config.channels, 1),
            nn.SiLU(),
            nn.Conv2d(config.channels, config.channels, 1),
            nn.SiLU(),
        )
        self.places = nn.Conv2d(config.channels, config.placed, 1)
        self.head = nn.Sequential(
            nn.LayerNorm(pooled),
            nn.Linear(pooled, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.dimensions),
        )

    def forward(self, activations: Tensor) -> Tensor:
        """See the class."""
        cells = self.cell(activations)
        pooled = [cells.mean(dim=(2, 3)), cells.amax(dim=(2, 3)), self.places(cells).flatten(1)]
        return self.head(torch.cat(pooled, dim=1))

    def known(self, generator: Generator, metric: Metric) -> GlimpsingGenerator:
        """The generator; a ValueError where the predictor doesn't know it, or the metric."""
        if not isinstance(generator, GlimpsingGenerator) or generator.id.split()[0] != self.config.generator:
            raise ValueError(f"the predictor knows images of {self.config.generator!r}, not of {generator.id!r}")
        if metric.id != self.config.metric:
            known = self.config.metric
            raise ValueError(f"the predictor knows the metric {known!r}, not {metric.id!r}: choose it as metric")
        return generator

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, in float16."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n")
        weights = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> EmbeddingPredictor:
        """Read what :meth:`save` wrote; computes in float32.

        Raises:
            steer_env.assets.AssetError: a file that is missing, or isn't the one that the manifest lists.
            ValueError: files that :meth:`save` doesn't write.
        """
        assets.verified(folder)
        try:
            values = json.loads((folder / "config.json").read_text())
            config = checked_options(PredictorConfig, values, "the predictor")
            predictor = cls(config)
            predictor.load_state_dict(load_file(folder / "model.safetensors"))
        except Exception as error:
            raise ValueError(f"{folder} holds no predictor: {reason(error)}") from error
        if config.share <= 0 or not all(bool(weights.isfinite().all()) for weights in predictor.parameters()):
            raise ValueError(f"{folder} holds a predictor that predicts nothing: its numbers aren't finite or positive")
        return predictor.eval()


def predictor_folder(predictor: str) -> Path:
    """Of the option ``predictor``, which is empty for the embedded model's."""
    return Path(predictor).expanduser() if predictor else assets.ROOT / "tiles-predictor"


class LearnedSteering(BayesianSteering):
    """The Bayesian mechanism over images that are predicted, at no image beyond those that are shown.

    Args:
        studio: makes the images that are shown; the predictor must know its generator.
        metric: compares them; the predictor must know it.
        options: ``predictor`` is a folder that :meth:`EmbeddingPredictor.save` wrote and that has a manifest.
        hypotheses: keeps predictions, for mechanisms that share them.

    Raises:
        ValueError: a generator or a metric that the predictor doesn't know.
        steer_env.assets.AssetError: damaged weights.
    """

    def __init__(
        self, studio: Studio, metric: Metric, options: LearnedOptions, hypotheses: Hypotheses | None = None
    ) -> None:
        pool, temperature, ahead = options.pool, options.temperature, options.ahead
        super().__init__(studio, metric, BayesianOptions(pool, temperature, ahead=ahead), hypotheses)
        folder = predictor_folder(options.predictor)
        self._predictor = EmbeddingPredictor.load(folder).to(studio.generator.device)
        self._generator, self._guessed = self._predictor.known(studio.generator, metric), True
        self.extra_images, self.extra_passes = 0, pool * self._predictor.config.share
        self._version = assets.version(folder)
        self.id = f"learned-{self._version}-{pool}-{temperature:g}{f'-ahead{ahead}' if ahead else ''}"

    @torch.inference_mode()
    def _imagine(
        self, latents: Tensor, seeds: list[int], conditioning: Conditioning, rows: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """As the Bayesian mechanism's; the vectors are no longer than 1."""
        pools = draw_pools(latents, seeds, self.pool)

        def embed(new: list[int]) -> Tensor:
            expected = [
                self._expect(part, {name: values[int(rows[i])] for name, values in conditioning.items()})
                for i in new
                for part in pools[i].split(_AT_A_TIME)
            ]
            return torch.cat(expected).unflatten(0, (len(new), self.pool))

        return pools, self._hypotheses.recall(f"predicted {self._version}", seeds, self.pool, conditioning, rows, embed)

    def _expect(self, latents: Tensor, prompt: Conditioning) -> Tensor:
        """Embeddings of latents (B, …) that share a prompt, one row of each conditioning."""
        shared = {name: value.expand(len(latents), *value.shape) for name, value in prompt.items()}
        return self._predictor(self._generator.glimpse(latents, shared).float())


class FeedbackSteering(LearnedSteering):
    """Greedy feedback over predicted images: like what was taken, unlike what wasn't.

    It is in the manner of FABRIC (von Rütte et al., 2023), whose denoiser attends to the images taken and turns away
    from the others. Here both enter a score, the mean similarity to what was taken in each round less ``weight`` times
    that to the rest of the screen, and each round offers the K predicted images of the highest score. There is no
    belief about a goal, and nothing is explored. In the first round proposals are images drawn at random.

    Args:
        studio, metric, options, hypotheses: see :class:`LearnedSteering`, for errors, too.
    """

    def __init__(
        self, studio: Studio, metric: Metric, options: FeedbackOptions, hypotheses: Hypotheses | None = None
    ) -> None:
        learned = LearnedOptions(options.pool, ahead=0, predictor=options.predictor)
        super().__init__(studio, metric, learned, hypotheses)
        self.weight = options.weight
        self.id = f"feedback-{self._version}-{self.pool}-{self.weight:g}"

    def _learn(self, where: Tensor, screen: Tensor, choices: Tensor) -> None:
        """Add the round's score of each image of the pool."""
        alike = self._compare(where, screen)
        chosen = alike[torch.arange(len(where), device=where.device), choices]
        self._evidence[where] += chosen - self.weight * (alike.sum(dim=1) - chosen) / (screen.shape[1] - 1)

    def _pick(self, place: int, held: Tensor, proposals: int, ahead: int) -> Tensor:
        """Places (K,) of the highest scores; nothing scores before the first choice, and the first ones are random."""
        score, picked = self._evidence[place] - self._shown[place], []
        for _ in range(proposals):
            picked.append(first_best_of(score))
            score[picked[-1]] = -torch.inf
        return torch.stack(picked)
