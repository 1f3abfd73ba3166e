"""Preferential Bayesian optimisation: its process against independent references, and what it offers."""

import numpy as np
import pytest
import torch
from scipy import optimize, special

from steer_env.mechanisms.mixtures import Mixture
from steer_env.mechanisms.preferences import Preferences
from steer_env.mechanisms.preferential import PreferentialSteering
from tests.steer_env.mechanisms.courses import SHAPE, history, likeness, randn

IMAGES = randn(4, 3, seed=5).double()
PAIRS = torch.tensor([[1.0, -1, 0, 0], [0, 1, -1, 0], [0, 0, 0, 0], [1, 0, 0, -1]]).double()


class TestPreferences:
    @pytest.mark.parametrize("temperature", [0.03, 0.3, 3.0])
    def test_the_posterior_is_laplaces(self, temperature: float) -> None:
        """Against a general optimiser over the utilities of the images themselves."""
        unit = IMAGES.numpy() / np.linalg.norm(IMAGES.numpy(), axis=1, keepdims=True)
        prior = np.exp((unit @ unit.T - 1) / 0.7**2)
        pairs, precision = PAIRS.numpy()[[0, 1, 3]], np.linalg.inv(prior)

        def loss(utilities: np.ndarray) -> float:
            likely = special.log_expit(pairs @ utilities / temperature).sum()
            return float(0.5 * utilities @ precision @ utilities - likely)

        mode = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).x
        sure = special.expit(pairs @ mode / temperature)
        hessian = precision + pairs.T @ np.diag(sure * (1 - sure) / temperature**2) @ pairs
        mean, covariance = Preferences(IMAGES[None], PAIRS[None], 0.7, temperature).posterior(IMAGES[None])
        np.testing.assert_allclose(mean[0], mode, atol=1e-5)
        np.testing.assert_allclose(covariance[0], np.linalg.inv(hessian), atol=1e-4)

    def test_without_comparisons_it_is_the_prior(self) -> None:
        mean, covariance = Preferences(IMAGES[None], 0 * PAIRS[None], 0.7, 0.3).posterior(3 * IMAGES[None])
        assert not mean.any()
        cosines = torch.cosine_similarity(IMAGES[:, None], IMAGES[None], dim=2)
        torch.testing.assert_close(covariance[0], torch.exp((cosines - 1) / 0.49))

    def test_functions_are_drawn_from_the_posterior(self) -> None:
        process = Preferences(IMAGES[None], PAIRS[None], 0.7, 0.3)
        mean, covariance = process.posterior(IMAGES[None])
        drawn = process.draw(IMAGES[None], randn(1, 40_000, 4).double())[0]
        torch.testing.assert_close(drawn.mean(dim=0), mean[0], atol=0.02, rtol=0)
        torch.testing.assert_close(drawn.T.cov(), covariance[0], atol=0.02, rtol=0)

    def test_the_same_image_twice_is_no_trouble(self) -> None:
        twice = torch.cat([IMAGES, IMAGES])[None]
        drawn = Preferences(IMAGES[None], PAIRS[None], 0.7, 0.3).draw(twice, randn(1, 5, 8).double())[0]
        torch.testing.assert_close(drawn[:, :4], drawn[:, 4:], atol=1e-3, rtol=0)


class TestPreferential:
    def test_the_first_round_is_the_mixtures(self) -> None:
        start, latents, noise = history([[0, 0]], [0]), randn(1, *SHAPE), randn(1, 2, *SHAPE, seed=1)
        offered = [d.propose(latents, torch.tensor([0.7]), noise, start) for d in (Mixture(), PreferentialSteering())]
        assert torch.equal(*offered)

    def test_candidates_are_the_mixtures_in_length_and_likeness_to_the_current_latent(self) -> None:
        past, latents, noise = history([[2, 0, 0], [0, 0, 0]], [1, 3]), randn(2, *SHAPE), randn(2, 2, *SHAPE, seed=1)
        plain, found = (
            mechanism.propose(latents, torch.tensor([0.6, 0.9]), noise, past).flatten(2)
            for mechanism in (Mixture(), PreferentialSteering())
        )
        held = latents.flatten(1)[:, None]
        torch.testing.assert_close(found.norm(dim=2), plain.norm(dim=2))
        torch.testing.assert_close((found * held).sum(2), (plain * held).sum(2), atol=1e-4, rtol=0)
        assert not torch.allclose(found, plain, atol=0.1)

    def test_it_has_no_state_and_draws_from_the_seeds(self) -> None:
        past, latents, noise = history([[2, 0, 0]], [1]), randn(1, *SHAPE), randn(1, 2, *SHAPE, seed=1)
        mechanism, scales = PreferentialSteering(), torch.tensor([0.6])
        first = mechanism.propose(latents, scales, noise, past)
        past.seeds[0] += 1  # type: ignore[index]
        other = mechanism.propose(latents, scales, noise, past)
        past.seeds[0] -= 1  # type: ignore[index]
        assert torch.equal(mechanism.propose(latents, scales, noise, past), first)
        assert not torch.allclose(other, first, atol=0.1)

    def test_it_brings_users_closer_who_judge_by_the_latents_themselves(self) -> None:
        assert likeness(PreferentialSteering(), n=500) > likeness(Mixture(), n=500) + 0.015

    @pytest.mark.parametrize("options", [{"candidates": 1}, {"length": 0}, {"temperature": -0.1}])
    def test_errors(self, options: dict[str, float]) -> None:
        (name, value), least = next(iter(options.items())), "at least 2" if "candidates" in options else "positive"
        with pytest.raises(ValueError, match=f"{name} must be {least}, got {value}"):
            PreferentialSteering(**options)  # type: ignore[arg-type]
