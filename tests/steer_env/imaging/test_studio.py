"""The studio in this process, and how environments come by one."""

import numpy as np
import pytest
import torch

from steer_env.envs import ImageSteeringVectorEnv
from steer_env.imaging import is_elsewhere, make_studio
from steer_env.imaging.studio import LocalStudio
from steer_env.types import Generator, Metric
from tests.conftest import CountingGenerator

PICTURES = [(f"a {colour} star", seed) for seed, colour in enumerate(["red", "green", "blue", "red", "blue"])]


def test_shards_have_one_size_and_images_are_counted(counting_generator: CountingGenerator, metric: Metric) -> None:
    studio = LocalStudio(counting_generator, metric, shard=2)
    latents, conditioning = studio.prepare(PICTURES)
    whole, _ = LocalStudio(counting_generator, metric).picture(latents, conditioning, "a test")
    assert counting_generator.sizes == [5]
    counting_generator.sizes.clear()
    made, images = studio.picture(latents, conditioning, "a test")
    assert counting_generator.sizes == [2, 2, 1]
    assert (studio.images, images) == (5, None)
    torch.testing.assert_close(made[""], whole[""], atol=5e-6, rtol=0)


def test_images_of_a_memory_that_shrinks_are_all_made(generator: Generator, metric: Metric) -> None:
    """A generator may halve its largest batch while it makes images."""

    class Shrinking(CountingGenerator):
        def generate(self, latents: torch.Tensor, conditioning: object) -> torch.Tensor:
            self.max_batch = 1
            return super().generate(latents, conditioning)  # type: ignore[arg-type]

    studio = LocalStudio(Shrinking(generator, max_batch=4), metric)
    made, _ = studio.picture(*studio.prepare(PICTURES), "a test")
    assert len(made[""]) == studio.images == len(PICTURES)


def test_environments_take_a_name_a_mapping_or_a_studio_of_ones_own(generator: Generator, metric: Metric) -> None:
    own = LocalStudio(generator, metric)
    envs = [ImageSteeringVectorEnv(2, studio=spec) for spec in ("here", {"name": "here", "shard": 64})]
    envs.append(ImageSteeringVectorEnv(2, studio=lambda *_: own))
    assert envs[2].dynamics.studio is own
    similarities = [env.reset(seed=3)[1]["similarity"] for env in envs]
    assert np.array_equal(similarities[0], similarities[1])
    assert np.array_equal(similarities[0], similarities[2])
    assert not is_elsewhere("here")
    assert is_elsewhere({"name": "ray"})


def test_impossible_studios(generator: Generator, metric: Metric) -> None:
    with pytest.raises(ValueError, match="unknown studio 'rya'; did you mean 'ray'"):
        make_studio("rya", generator, metric, {})
    with pytest.raises(ValueError, match="shard must be from 0 to 65536, got -1"):
        make_studio({"name": "here", "shard": -1}, generator, metric, {})


def test_a_predicted_world_makes_no_image_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from steer_env.envs import ImageSteeringVectorEnv
    from steer_env.generators.diffusion import DiffusionGenerator

    def made(*_: object) -> None:
        raise AssertionError("no image is to be made")

    real = ImageSteeringVectorEnv(2, rounds=1)
    real.reset(options={"task_index": [3, 4], "episode_seed": [1, 2]})
    monkeypatch.setattr(DiffusionGenerator, "generate", made)
    env = ImageSteeringVectorEnv(2, studio="predicted", rounds=1)
    env.reset(options={"task_index": [3, 4], "episode_seed": [1, 2]})
    assert " predicted-" in env.dynamics.generator.id
    norms = env.dynamics.embeddings.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(2))
    alike = (env.dynamics.embeddings * real.dynamics.embeddings).sum(dim=1)
    assert (alike > 0.6).all(), "predictions resemble the images"
    _, rewards, terminated, *_ = env.step(np.array([9, 9]))
    assert terminated.all()
    assert (rewards >= 0).all()
    drawn = ImageSteeringVectorEnv(2, studio="predicted", render_mode="rgb_array")
    with pytest.raises(ValueError, match="studio=predicted makes no images"):
        drawn.reset()
    with pytest.raises(ValueError, match="the predictor knows the metric"):
        ImageSteeringVectorEnv(2, studio="predicted", metric="pixel-correlation")
