import numpy as np
import pytest
import torch

from experiments.pretrain import perceptual
from experiments.pretrain.options import PerceptualOptions
from experiments.pretrain.perceptual import TrialSource
from steer_env.metrics import load_metric
from steer_env.testing import check_metric
from steer_env.tiles import tilings
from steer_env.tiles.renderer import render
from steer_env.types import Metric

EMBEDDED = ("tile-perceptual", "pixel-correlation")
"""Metrics without weights of other people's; those have files of tests of their own."""


def pictures(n: int, size: int = 48) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return render(tilings.sample_factors(n, rng), size, rng)


@pytest.mark.parametrize("name", EMBEDDED)
def test_conformance(name: str) -> None:
    check_metric(load_metric(name), pictures(6))


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_picture_is_most_similar_to_itself(name: str) -> None:
    embeddings = load_metric(name).embed(pictures(12))
    similarities = embeddings @ embeddings.T
    assert (similarities.argmax(dim=1) == torch.arange(12)).all()
    torch.testing.assert_close(similarities.diagonal(), torch.ones(12))


def test_pixel_correlation_is_the_correlation_of_pooled_pixels() -> None:
    images = pictures(4)
    embeddings = load_metric("pixel-correlation").embed(images)
    pooled = images.reshape(4, 3, 24, 2, 24, 2).mean(dim=(3, 5)).flatten(1).numpy()
    np.testing.assert_allclose((embeddings @ embeddings.T).numpy(), np.corrcoef(pooled), atol=1e-5)


def test_a_uniform_picture_is_like_no_other() -> None:
    embeddings = load_metric("pixel-correlation").embed(torch.cat([torch.full((1, 3, 48, 48), 0.5), pictures(1)]))
    assert float(embeddings[0] @ embeddings[1]) == pytest.approx(0, abs=1e-5)


def test_the_embedded_metric_answers_fresh_trials_better_than_pixels_do(metric: Metric) -> None:
    """A paired test (McNemar's) on trials that no card was written from."""
    trials = TrialSource(PerceptualOptions(), 48, np.random.default_rng(123)).rendered(1500)
    reference, first, second = trials.pictures.unbind(1)
    embeddings = [metric.embed(part) for part in (reference, first, second)]
    ours = (embeddings[0] * (embeddings[1] - embeddings[2])).sum(1) > 0
    pixels = perceptual.negative_mse(reference, first) > perceptual.negative_mse(reference, second)
    right, theirs = (found == (trials.answers == 0) for found in (ours, pixels))
    better, worse = int((right & ~theirs).sum()), int((theirs & ~right).sum())
    assert (better - worse) / (better + worse) ** 0.5 > 3.3


def test_the_embedded_metric_forgives_what_pixels_do_not(metric: Metric) -> None:
    """The same tiling with another displacement is nearer than the same displacement with another colour."""
    rng = np.random.default_rng(1)
    factors = tilings.sample_factors(200, rng)
    recoloured = factors.copy()
    recoloured[:, tilings.COLOUR] = (factors[:, tilings.COLOUR] + 1 + rng.integers(0, 8, 200)) % len(tilings.COLOURS)
    distinct = recoloured[:, tilings.COLOUR] != recoloured[:, tilings.BACKGROUND]
    image, again, other = (
        metric.embed(render(rows[distinct], 48, np.random.default_rng(seed)))
        for rows, seed in ((factors, 2), (factors, 3), (recoloured, 2))
    )
    assert ((image * again).sum(1) > (image * other).sum(1)).float().mean() > 0.8
