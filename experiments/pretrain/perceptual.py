"""Stage 4: the perceptual encoder, trained on two-alternative forced choices as DreamSim was (Fu et al., 2023).

A trial shows a reference and two alternatives; the answer, which alternative is more like the reference, follows
from the known factors of variation, with colours compared in CIELAB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from experiments.pretrain.options import PerceptualOptions
from experiments.run.fitting import fit
from steer_env.tiles import tilings
from steer_env.tiles.metric import EncoderConfig, TileEncoder
from steer_env.tiles.renderer import render

WEIGHTS = dict(zip(tilings.FACTORS, (1.0, 0.5, 1.0, 1.0, 0.4, 0.6, 1.2, 0.6), strict=True))
"""How much each factor counts in the answer to a trial."""

_UNALIKE_COLOURS = 100.0
"""CIELAB distance from which two colours count as wholly different."""
Picture = Callable[[list[str], list[int]], Tensor]
"""Captions and seeds → images, float (N, 3, S, S) in [0, 1]."""


@dataclass
class Trials:
    """Pictures float (N, 3, 3, H, W): reference and two alternatives; answers int (N,): 0 or 1, the nearer one."""

    pictures: Tensor
    answers: Tensor


def factor_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Weighted distance between tilings, int (N, 8) each → float (N,)."""
    colours = _colour_distances()
    total = np.zeros(len(a))
    for column, name in enumerate(tilings.FACTORS):
        x, y = a[:, column], b[:, column]
        if name in ("colour", "alternate", "background", "border"):
            distance = colours[x, y]
        elif name in ("count", "size"):
            distance = np.abs(x - y) / 2
        else:
            distance = (x != y).astype(float)
        total += WEIGHTS[name] * distance
    return total


def _colour_distances() -> np.ndarray:
    """Between palette colours, in [0, 1]; 'none' is wholly unlike any colour: float (11, 11)."""
    lab = _lab(tilings.RGB.astype(np.float64))
    distances = np.ones((len(lab) + 1, len(lab) + 1))
    gaps = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    distances[:-1, :-1] = np.minimum(gaps / _UNALIKE_COLOURS, 1)
    distances[-1, -1] = 0
    return distances


def _lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] → CIELAB under D65."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def draw_triplets(n: int, least_gap: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tilings int (N, 3, 8) and answers int (N,): alternatives change a random subset of the reference's factors."""
    kept: list[np.ndarray] = []
    answers: list[np.ndarray] = []
    while sum(len(part) for part in kept) < n:
        reference = tilings.sample_factors(2 * n, rng)
        alternatives = []
        for _ in range(2):
            fresh = tilings.sample_factors(2 * n, rng)
            changed = rng.random(fresh.shape) < rng.random((2 * n, 1))
            mixed = tilings.canonical(np.where(changed, fresh, reference))
            clash = mixed[:, tilings.COLOUR] == mixed[:, tilings.BACKGROUND]
            alternatives.append(np.where(clash[:, None], fresh, mixed))
        near, far = (factor_distance(reference, other) for other in alternatives)
        clear = np.abs(near - far) >= least_gap
        kept.append(np.stack([reference, *alternatives], axis=1)[clear])
        answers.append((far < near).astype(np.int64)[clear])
    return np.concatenate(kept)[:n], np.concatenate(answers)[:n]


class TrialSource:
    """Trials on rendered pictures, and on pictures for full captions by a generator, if there is one."""

    def __init__(
        self, config: PerceptualOptions, image_size: int, rng: np.random.Generator, picture: Picture | None = None
    ) -> None:
        self.config, self.image_size, self.rng = config, image_size, rng
        self._bank = self._trials(config.generated_images // 3, self._painted(picture)) if picture else None

    def _painted(self, picture: Picture) -> Callable[[np.ndarray], Tensor]:
        def paint(factors: np.ndarray) -> Tensor:
            captions = [tilings.full_caption(row) for row in factors]
            return picture(captions, self.rng.integers(2**31, size=len(captions)).tolist()).half()

        return paint

    def _trials(self, n: int, paint: Callable[[np.ndarray], Tensor]) -> Trials:
        triplets, answers = draw_triplets(n, self.config.least_gap, self.rng)
        pictures = paint(triplets.reshape(-1, len(tilings.FACTORS)))
        return Trials(pictures.unflatten(0, (n, 3)), torch.from_numpy(answers))

    def rendered(self, n: int) -> Trials:
        """n trials on fresh rendered pictures."""
        return self._trials(n, lambda factors: render(factors, self.image_size, self.rng))

    def generated(self) -> Trials:
        """All trials on generated pictures; a ValueError without a generator."""
        if self._bank is None:
            raise ValueError("this source of trials has no generator")
        return self._bank

    def batch(self, n: int) -> Trials:
        """n trials, the configured share of them on generated pictures (from a bank, each seen several times)."""
        if self._bank is None:
            return self.rendered(n)
        generated = int(n * self.config.generated_share)
        rows = torch.from_numpy(self.rng.integers(0, len(self._bank.answers), generated))
        rendered = self.rendered(n - generated)
        return Trials(
            torch.cat([rendered.pictures, self._bank.pictures[rows].float()]),
            torch.cat([rendered.answers, self._bank.answers[rows]]),
        )


def train_encoder(
    config: PerceptualOptions, encoder: EncoderConfig, source: TrialSource, seed: int, device: str = "cpu"
) -> TileEncoder:
    """Minimise DreamSim's hinge loss: the nearer alternative should be nearer by the margin."""
    torch.manual_seed(seed)
    model = TileEncoder(encoder).to(device)

    def loss(_: int) -> Tensor:
        trials = source.batch(config.budget.batch_size)
        embeddings = model(trials.pictures.to(device).flatten(0, 1)).float().unflatten(0, (-1, 3))
        similarity = (embeddings[:, :1] * embeddings[:, 1:]).sum(dim=2)
        sign = 1 - 2 * trials.answers.to(device)
        return nn.functional.relu(config.margin - sign * (similarity[:, 0] - similarity[:, 1])).mean()

    fit(model, loss, config.budget, "perceptual encoder")
    return model


def accuracy(similarity: Callable[[Tensor, Tensor], Tensor], trials: Trials) -> float:
    """Share of trials answered rightly by a similarity of two batches of pictures; ties count half."""
    scores = []
    for part in torch.arange(len(trials.answers)).split(256):
        reference, first, second = trials.pictures[part].float().unbind(1)
        scores.append(similarity(reference, first) - similarity(reference, second))
    sign = 1 - 2 * trials.answers
    agreement = torch.cat(scores) * sign
    return float(((agreement > 0).float() + 0.5 * (agreement == 0).float()).mean())


def negative_mse(a: Tensor, b: Tensor) -> Tensor:
    """Pixel similarity: minus the mean squared error, (N,)."""
    return -(a - b).square().mean(dim=(1, 2, 3))


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity with a uniform window (Wang et al., 2004), averaged over channels and places: (N,)."""

    def mean(x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, window, stride=1)

    mu_a, mu_b = mean(a), mean(b)
    # Unbiased within the window, as the reference implementations have it.
    unbias = window**2 / (window**2 - 1)
    var_a = (mean(a * a) - mu_a**2) * unbias
    var_b = (mean(b * b) - mu_b**2) * unbias
    cov = (mean(a * b) - mu_a * mu_b) * unbias
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return score.mean(dim=(1, 2, 3))


def embedded_cosine(encoder: TileEncoder) -> Callable[[Tensor, Tensor], Tensor]:
    """The encoder's similarity of two batches of pictures."""
    device = next(encoder.parameters()).device

    @torch.inference_mode()
    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return (encoder(a.to(device)) * encoder(b.to(device))).sum(dim=1).cpu()

    return similarity
