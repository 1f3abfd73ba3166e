"""Directions, and the mechanisms that only turn the noise."""

import pytest
import torch

from steer_env.mechanisms.preferences import comparisons
from steer_env.mechanisms.preferential import across, orthonormal
from tests.steer_env.mechanisms.courses import history, preferred, randn


class TestDirections:
    def test_they_are_orthonormal_and_span_what_was_given(self) -> None:
        vectors = randn(3, 4, 6)
        axes = orthonormal(vectors)
        torch.testing.assert_close(axes @ axes.mT, torch.eye(4).expand(3, 4, 4), atol=1e-5, rtol=0)
        torch.testing.assert_close(vectors @ axes.mT @ axes, vectors, atol=1e-5, rtol=0)
        assert (torch.linalg.diagonal(vectors @ axes.mT) > 0).all()

    def test_dependent_vectors_give_none(self) -> None:
        a, b = randn(2, 6)
        axes = orthonormal(torch.stack([a, b, 2 * a - b, torch.zeros(6)])[None])[0]
        assert axes.any(dim=1).tolist() == [True, True, False, False]

    def test_the_parts_of_noise_add_up(self) -> None:
        noise, latents = randn(2, 3, 8), randn(2, 8, seed=1)
        along, rest = across(noise, latents)
        torch.testing.assert_close(along + rest, noise)
        torch.testing.assert_close((rest * latents[:, None]).sum(2), torch.zeros(2, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("choices", [[0, 0, 0], [2, 0, 1], [0, 1, 0], [0, 0, 2], [1, 1, 0]])
@pytest.mark.parametrize("played", [0, 1, 2, 3])
def test_comparisons_are_those_of_the_course(choices: list[int], played: int) -> None:
    told = choices[:played] + [0] * (3 - played)
    rows = comparisons(history([told], [played]))[0]
    pairs = [(int(row.argmax()), int(row.argmin())) for row in rows if row.any()]
    assert pairs == preferred(told, played)
    assert set(rows.unique().tolist()) <= {-1.0, 0.0, 1.0}
