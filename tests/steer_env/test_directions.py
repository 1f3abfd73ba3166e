"""Directions, and the mechanisms that only turn the noise."""

from typing import Any

import numpy as np
import pytest
import torch

from steer_env.distributions.comparisons import comparisons, shown
from steer_env.distributions.directions import across, orthonormal
from steer_env.distributions.memory import MemoryMixture
from steer_env.distributions.mixtures import Mixture, OrthogonalMixture
from steer_env.types import SteeringHistory
from tests.steer_env.courses import SHAPE, history, likeness, preferred, randn


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


class TestOrthogonal:
    @pytest.mark.parametrize("proposals", [1, 2, 5, 30])
    def test_noises_are_orthogonal_and_as_long_as_drawn(self, proposals: int) -> None:
        latents, noise = randn(2, *SHAPE), randn(2, proposals, *SHAPE, seed=1)
        start = history([[0, 0]] * 2, [0, 0], proposals)
        found = OrthogonalMixture().propose(latents, torch.ones(2), noise, start).flatten(2)
        products = found @ found.mT
        expected = torch.diag_embed(noise.flatten(2).square().sum(2))
        torch.testing.assert_close(products, expected, atol=1e-3, rtol=0)

    def test_there_are_only_so_many(self) -> None:
        start, noise = history([[0, 0]] * 2, [0, 0], 31), randn(2, 31, *SHAPE)
        with pytest.raises(ValueError, match="at most 30 proposals can be orthogonal in latents of size 30, got 31"):
            OrthogonalMixture().propose(randn(2, *SHAPE), torch.ones(2), noise, start)


@pytest.mark.parametrize("choices", [[0, 0, 0], [2, 0, 1], [0, 1, 0], [0, 0, 2], [1, 1, 0]])
@pytest.mark.parametrize("played", [0, 1, 2, 3])
def test_comparisons_are_those_of_the_course(choices: list[int], played: int) -> None:
    told = choices[:played] + [0] * (3 - played)
    rows = comparisons(history([told], [played]))[0]
    pairs = [(int(row.argmax()), int(row.argmin())) for row in rows if row.any()]
    assert pairs == preferred(told, played)
    assert set(rows.unique().tolist()) <= {-1.0, 0.0, 1.0}


class TestMemory:
    CHOICES, PLAYED = ([[2, 0, 0], [0, 0, 0], [0, 1, 2]], [1, 2, 3])

    def proposals(self, mechanism: Any, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, SteeringHistory]:
        past, latents = history(self.CHOICES, self.PLAYED), randn(3, *SHAPE, seed=2)
        noise = randn(3, 2, *SHAPE, seed=3)
        return mechanism.propose(latents, torch.full((3,), scale), noise, past).flatten(2), latents.flatten(1), past

    @pytest.mark.parametrize("strength", [0.0, 0.4, 0.9])
    def test_noise_leans_as_far_as_is_said_towards_what_was_preferred(self, strength: float) -> None:
        found, latents, past = self.proposals(MemoryMixture(strength))
        images = shown(latents.reshape(3, *SHAPE), past).numpy()
        for row in range(3):
            liked = sum(
                images[row, better] - images[row, worse]
                for better, worse in preferred(self.CHOICES[row], self.PLAYED[row])
            )
            held = images[row, -1] / np.linalg.norm(images[row, -1])
            liked = liked - (liked @ held) * held
            for noise in found[row].numpy():
                rest = noise - (noise @ held) * held
                cosine = rest @ liked / np.linalg.norm(rest) / np.linalg.norm(liked)
                assert cosine == pytest.approx(strength, abs=1e-4)

    def test_likeness_to_the_current_latent_and_length_are_the_mixtures(self) -> None:
        (found, latents, _), (plain, *_) = self.proposals(MemoryMixture(0.7), 0.6), self.proposals(Mixture(), 0.6)
        torch.testing.assert_close(found.norm(dim=2), plain.norm(dim=2))
        torch.testing.assert_close((found * latents[:, None]).sum(2), (plain * latents[:, None]).sum(2))
        assert not torch.allclose(found, plain, atol=0.1)

    def test_it_brings_users_closer_who_judge_by_the_latents_themselves(self) -> None:
        assert likeness(MemoryMixture()) > likeness(Mixture()) + 0.02

    def test_the_first_round_is_the_mixtures(self) -> None:
        start, latents, noise = history([[0, 0]], [0]), randn(1, *SHAPE), randn(1, 2, *SHAPE, seed=1)
        offered = [d.propose(latents, torch.tensor([0.7]), noise, start) for d in (Mixture(), MemoryMixture(0.7))]
        assert torch.equal(*offered)

    @pytest.mark.parametrize("strength", [-0.1, 1.0, float("nan")])
    def test_strengths_out_of_range(self, strength: float) -> None:
        with pytest.raises(ValueError, match=rf"strength must be at least 0 and less than 1, got {strength}"):
            MemoryMixture(strength)
