"""Cheap previews of images that may never be made: by checkpoints in Stable Diffusion format, and by mechanisms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from steer_env.dynamics import SteeringDynamics
from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.humans.choosers import GreedyHuman
from steer_env.imaging.studio import LocalStudio
from steer_env.mechanisms import load_mechanism
from steer_env.metrics import load_metric
from steer_env.proposals import draw_latents
from steer_env.tasks import load_suite
from steer_env.types import Generator, Metric, PreviewingGenerator
from tests.conftest import CountingGenerator
from tests.steer_env.checkpoints import diffusion_folder

TASKS = load_suite("tiles-val-v1")[:2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_folder(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def guided(checkpoint: Path) -> StableDiffusionGenerator:
    return StableDiffusionGenerator(str(checkpoint), steps=5, guidance_scale=7.5)


@pytest.fixture
def passed(guided: StableDiffusionGenerator) -> Iterator[list[int]]:
    """How many latents each call of the denoiser took."""
    sizes: list[int] = []
    hook = guided.pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    yield sizes
    hook.remove()


def test_a_preview_takes_its_steps_without_guidance(guided: StableDiffusionGenerator, passed: list[int]) -> None:
    latents = draw_latents([1, 2, 3], guided.latent_shape)
    conditioning = guided.encode(["red", "blue", "star"])
    before = guided.generate(latents, conditioning)
    assert (guided.passes, passed) == (10, [6] * 5)
    passed.clear()
    cheap = guided.preview(2)
    assert isinstance(guided, PreviewingGenerator)
    shown = cheap.generate(latents, conditioning)
    assert (cheap.passes, passed) == (2, [3] * 2)
    # A person's own guidance is no guidance of a preview's.
    chosen = cheap.generate(latents, guided.encode_guided(["red", "blue", "star"], [3.0, 1.0, 9.0]))
    torch.testing.assert_close(shown, chosen)
    assert shown.shape == before.shape
    assert cheap.id != guided.id
    # The generator itself is as it was.
    assert torch.equal(guided.generate(latents, conditioning), before)


def test_with_all_steps_and_no_guidance_a_preview_is_the_image(checkpoint: Path) -> None:
    plain = StableDiffusionGenerator(str(checkpoint), steps=3, guidance_scale=1.0)
    latents, conditioning = draw_latents([4, 5], plain.latent_shape), plain.encode(["a", "b"])
    assert torch.equal(plain.preview(3).generate(latents, conditioning), plain.generate(latents, conditioning))
    for steps in (0, 4, -1):
        with pytest.raises(ValueError, match=f"preview_steps must be 1 to 3, the generator's own steps, got {steps}"):
            plain.preview(steps)


def test_a_mechanism_with_previews_makes_in_full_what_it_shows_and_counts_all_passes(
    guided: StableDiffusionGenerator, passed: list[int]
) -> None:
    """Ten images an episode of four rounds at most, and two unguided passes for each of a pool."""
    metric = load_metric("pixel-correlation")
    mechanism = load_mechanism({"name": "bayesian", "pool": 6, "preview_steps": 2}, LocalStudio(guided, metric))
    played = SteeringDynamics(LocalStudio(guided, metric), GreedyHuman(), 2, mechanism=mechanism)
    played.reset(TASKS, [0, 1])
    for _ in range(4):
        played.step(np.full(2, 0.5))
    assert (played.images_made <= 10).all()
    assert played.passes_made.tolist() == (10 * played.images_made + 6 * 2).tolist()
    assert sum(passed) == played.passes_made.sum()


def test_at_stable_diffusions_counts_previews_cost_less_than_twice_the_mixture(
    checkpoint: Path,
) -> None:
    """An image of 50 guided steps takes 100 passes, a preview of 4 steps 4: played, and every pass counted."""
    generator = StableDiffusionGenerator(str(checkpoint), steps=50, guidance_scale=7.5)
    sizes: list[int] = []
    hook = generator.pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    taken = {}
    for name in ("mixture", "bayesian:pool=192,temperature=0.03,preview_steps=4,ahead=24"):
        studio = LocalStudio(generator, load_metric("pixel-correlation"))
        played = SteeringDynamics(studio, GreedyHuman(), 1, mechanism=load_mechanism(name, studio))
        sizes.clear()
        played.reset(TASKS[:1], [0])
        for _ in range(4):
            played.step(np.ones(1))
        taken[name], counted = sum(sizes), played.passes_made.tolist()
        assert counted == [taken[name]]
    hook.remove()
    mixture, previews = taken.values()
    assert (mixture, previews) == (1000, 1768)
    assert previews <= 2 * mixture


def test_images_in_full_count_as_images_and_as_their_passes(guided: StableDiffusionGenerator) -> None:
    metric = load_metric("pixel-correlation")
    mechanism = load_mechanism({"name": "bayesian", "pool": 6}, LocalStudio(guided, metric))
    played = SteeringDynamics(LocalStudio(guided, metric), GreedyHuman(), 1, mechanism=mechanism)
    played.reset(TASKS[:1], [0])
    played.step(np.array([0.5]))
    assert played.images_made.tolist() == [2 + 2 + 6]
    assert played.passes_made.tolist() == [10 * (2 + 2 + 6)]


def test_a_mechanism_sees_what_was_shown_by_its_own_metric(generator: Generator, metric: Metric) -> None:
    """Embeddings of all that was on the screen, and no judge by that name."""
    own = load_metric("pixel-correlation")
    mechanism = load_mechanism({"name": "bayesian", "pool": 6, "preview_steps": 1}, LocalStudio(generator, own))
    histories = []
    propose = mechanism.propose
    mechanism.propose = lambda *given: histories.append(given[-1]) or propose(*given)  # type: ignore[method-assign]
    played = SteeringDynamics(LocalStudio(generator, metric), GreedyHuman(), 2, mechanism=mechanism, keep_images=True)
    played.reset(TASKS, [0, 1])
    shown = [played.step(np.full(2, 0.5)).shown for _ in range(2)]
    assert played.judged() == {}
    played.step(np.full(2, 0.5))
    seen = histories[-1].embeddings
    assert seen.shape == (2, 4, 3, own.dimensions)
    for place, images in enumerate(shown):
        assert images is not None
        expected = own.embed(torch.from_numpy(images).flatten(0, 1).float() / 255).unflatten(0, (2, 3))
        torch.testing.assert_close(seen[:, place], expected, atol=2e-2, rtol=0)
    held = seen[:, 1][torch.arange(2), histories[-1].choices[:, 1]]
    assert torch.equal(seen[:, 2, 0], held)
    assert not seen[:, 2, 1:].any()
    assert not seen[:, 3].any()


def test_a_generator_without_previews_is_refused(counting_generator: CountingGenerator, metric: Metric) -> None:
    with pytest.raises(ValueError, match="makes no previews"):
        load_mechanism({"name": "bayesian", "preview_steps": 1}, LocalStudio(counting_generator, metric))
