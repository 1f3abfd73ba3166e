import numpy as np
import pytest
import torch

from experiments.pretrain import perceptual
from experiments.pretrain.options import PerceptualOptions
from experiments.pretrain.perceptual import Trials, TrialSource, accuracy, draw_triplets, factor_distance
from steer_env.tiles import tilings


def test_a_tiling_is_at_no_distance_from_itself_and_distance_is_symmetric() -> None:
    rng = np.random.default_rng(0)
    a, b = tilings.sample_factors(500, rng), tilings.sample_factors(500, rng)
    assert factor_distance(a, a).tolist() == [0] * 500
    np.testing.assert_allclose(factor_distance(a, b), factor_distance(b, a))
    assert (factor_distance(a, b)[(a != b).any(axis=1)] > 0).all()


def test_colours_are_compared_as_seen() -> None:
    """CIELAB values of sRGB's primaries, from the standard's published tables."""
    rgb = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=float)
    lab = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [100, 0, 0]]
    np.testing.assert_allclose(perceptual._lab(rgb), lab, atol=0.1)


def test_answers_name_the_nearer_alternative_by_a_clear_gap() -> None:
    triplets, answers = draw_triplets(400, 0.2, np.random.default_rng(0))
    distances = np.stack([factor_distance(triplets[:, 0], triplets[:, i]) for i in (1, 2)], axis=1)
    assert np.array_equal(distances.argmin(axis=1), answers)
    assert (np.abs(distances[:, 0] - distances[:, 1]) >= 0.2).all()
    assert 0.4 < answers.mean() < 0.6
    for column in (triplets[:, 1], triplets[:, 2]):
        assert np.array_equal(column, tilings.canonical(column))
        assert (column[:, tilings.COLOUR] != column[:, tilings.BACKGROUND]).all()


def test_ssim_is_that_of_an_independent_implementation() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((3, 24, 24))
    b = np.clip(a + 0.2 * rng.standard_normal(a.shape), 0, 1)
    found = float(perceptual.ssim(torch.from_numpy(a)[None], torch.from_numpy(b)[None])[0])
    scores = []
    for x, y in zip(a, b, strict=True):
        values = []
        for i in range(24 - 6):
            for j in range(24 - 6):
                p, q = x[i : i + 7, j : j + 7], y[i : i + 7, j : j + 7]
                covariance = np.cov(p.ravel(), q.ravel())
                c1, c2 = 0.01**2, 0.03**2
                top = (2 * p.mean() * q.mean() + c1) * (2 * covariance[0, 1] + c2)
                bottom = (p.mean() ** 2 + q.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)
                values.append(top / bottom)
        scores.append(np.mean(values))
    assert found == pytest.approx(np.mean(scores), abs=1e-9)
    assert float(perceptual.ssim(torch.from_numpy(a)[None], torch.from_numpy(a)[None])[0]) == pytest.approx(1)


def test_accuracy_counts_right_answers_and_half_of_ties() -> None:
    pictures = torch.zeros(4, 3, 3, 2, 2)
    pictures[:, 1] = torch.tensor([0.1, 0.5, 0.3, 0.9])[:, None, None, None]
    pictures[:, 2] = torch.tensor([0.4, 0.2, 0.3, 0.1])[:, None, None, None]
    trials = Trials(pictures, torch.tensor([0, 1, 1, 0]))
    assert accuracy(perceptual.negative_mse, trials) == pytest.approx((1 + 1 + 0.5 + 0) / 4)


def test_trials_mix_rendered_and_generated_pictures() -> None:
    asked: list[str] = []

    def picture(captions: list[str], seeds: list[int]) -> torch.Tensor:
        asked.extend(captions)
        return torch.full((len(captions), 3, 16, 16), 0.5)

    config = PerceptualOptions(generated_images=30, generated_share=0.25)
    source = TrialSource(config, 16, np.random.default_rng(0), picture)
    assert len(asked) == 30
    trials = source.batch(20)
    generated = (trials.pictures == 0.5).flatten(1).all(dim=1)
    assert int(generated.sum()) == 5
    with pytest.raises(ValueError, match="has no generator"):
        TrialSource(config, 16, np.random.default_rng(0)).generated()
