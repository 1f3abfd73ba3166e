"""Pools of images, and mechanisms that share them."""

import numpy as np
import torch

from steer_env.imaging.studio import LocalStudio
from steer_env.mechanisms import load_mechanism
from steer_env.mechanisms.hypotheses import Hypotheses
from steer_env.mechanisms.predicted import LearnedSteering
from steer_env.metrics import load_metric
from steer_env.proposals import draw_latents
from steer_env.types import Generator, Metric
from tests.conftest import CountingGenerator


def test_a_pool_is_made_once_for_all_metrics_and_smaller_pools(
    counting_generator: CountingGenerator, metric: Metric
) -> None:
    metrics = [metric, load_metric("pixel-correlation")]
    latents, prompts = draw_latents([1, 2], counting_generator.latent_shape), counting_generator.encode(["red", "blue"])
    shared = Hypotheses(LocalStudio(counting_generator, metric), metrics, kept=2)
    pools, found = shared.make(latents, [5, 6], 4, prompts, np.arange(2))
    assert len(counting_generator.latents) == 2 * 4
    smaller, parts = shared.make(latents, [5, 6], 3, prompts, np.arange(2))
    assert len(counting_generator.latents) == 2 * 4
    assert torch.equal(smaller, pools[:, :3])
    for one in metrics:
        assert torch.equal(parts[one.id], found[one.id][:, :3])
        images = counting_generator.generate(pools[1], {name: v[[1] * 4] for name, v in prompts.items()})
        torch.testing.assert_close(found[one.id][1], one.embed(images), atol=5e-5, rtol=0)


def test_what_is_kept_is_bounded_and_another_episode_gets_its_own(
    counting_generator: CountingGenerator, metric: Metric
) -> None:
    latents, prompts = draw_latents([1, 2], counting_generator.latent_shape), counting_generator.encode(["red", "blue"])
    shared = Hypotheses(LocalStudio(counting_generator, metric), [metric], kept=1)
    one, two = np.array([0]), np.array([1])
    made = []
    for seed, rows in ((5, one), (5, one), (6, one), (5, two), (5, one)):
        before = len(counting_generator.latents)
        shared.make(latents[rows], [seed], 2, prompts, rows)
        made.append(len(counting_generator.latents) - before)
    assert made == [2, 0, 2, 2, 2]


def test_what_one_mechanism_predicted_another_finds_again(generator: Generator, metric: Metric) -> None:
    studio = LocalStudio(generator, metric)
    shared = Hypotheses(studio, [metric], kept=2)
    large, small = (load_mechanism(f"learned:pool={pool}", studio, hypotheses=shared) for pool in (6, 4))
    assert isinstance(large, LearnedSteering)
    assert isinstance(small, LearnedSteering)
    latents, prompts = draw_latents([1, 2], generator.latent_shape), generator.encode(["red", "blue"])
    pools, expected = large._imagine(latents, [5, 6], prompts, np.arange(2))
    small._expect = None  # type: ignore[method-assign,assignment]
    smaller, found = small._imagine(latents, [5, 6], prompts, np.arange(2))
    assert torch.equal(smaller, pools[:, :4])
    assert torch.equal(found, expected[:, :4])
