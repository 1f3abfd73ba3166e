"""How well images show what their prompts say, on random weights of CLIP's own format."""

from __future__ import annotations

from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from steer_env.dynamics import SteeringDynamics
from steer_env.envs import ImageSteeringVectorEnv, TextSteeringVectorEnv
from steer_env.humans import load_human
from steer_env.imaging.studio import LocalStudio
from steer_env.metrics import load_metric
from steer_env.metrics.checkpoints import CheckpointError
from steer_env.metrics.clip import CLIPAlignment, CLIPMetric
from steer_env.tasks import load_suite
from steer_env.testing import check_metric
from steer_env.tiles.drawn import DrawnAlignment
from steer_env.types import Alignment, Generator, Metric
from tests.steer_env.checkpoints import check_travels, clip_folder, pictures

PROMPTS = ["four red stars", "stars", "one small blue ring, on a white background", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder(tmp_path_factory.mktemp("clip"))


def test_its_image_half_is_clips(folder: Path) -> None:
    metric = load_metric("clip-alignment", path=str(folder))
    check_metric(metric, pictures(3, 48))
    assert torch.equal(metric.embed(pictures(3, 48)), CLIPMetric(str(folder)).embed(pictures(3, 48)))
    assert metric.id.startswith("clip-alignment-")
    assert metric.id.endswith(CLIPMetric(str(folder)).id.removeprefix("clip"))


@torch.inference_mode()
def test_cosines_are_those_of_the_whole_model(folder: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), CLIPModel.from_pretrained(folder)
    tokens = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    texts = model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
    ours = CLIPAlignment(str(folder))
    images = ours.embed(pictures(4, 32))
    expected = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(images @ ours.embed_prompts(PROMPTS).T, expected, atol=1e-5, rtol=0)


def test_a_prompt_s_embedding_depends_on_nothing_but_itself(folder: Path) -> None:
    metric = CLIPAlignment(str(folder), max_batch=3)
    together = metric.embed_prompts(PROMPTS)
    torch.testing.assert_close(together, torch.cat([metric.embed_prompts([prompt]) for prompt in PROMPTS]))
    assert metric.embed_prompts([]).shape == (0, metric.dimensions)
    long = metric.embed_prompts(["red " * 500])
    assert torch.isfinite(long).all(), "what is too long is cut"


def test_it_travels_with_both_halves(folder: Path) -> None:
    metric = CLIPAlignment(str(folder))
    check_travels(metric)
    sent = cloudpickle.loads(cloudpickle.dumps(metric)).to("cpu")
    assert torch.equal(sent.embed_prompts(PROMPTS), metric.embed_prompts(PROMPTS))


def test_a_checkpoint_without_its_text_half_or_tokenizer(tmp_path: Path) -> None:
    folder = clip_folder(tmp_path / "clip")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match=r"can't read prompts: .*tokenizer included"):
        CLIPAlignment(str(folder))


def test_dynamics_compare_each_image_with_the_prompt_that_made_it(generator: Generator, folder: Path) -> None:
    judge = CLIPAlignment(str(folder))
    env = TextSteeringVectorEnv(2, rounds=2, observe=("image",), judges={"shown": judge})
    observation, info = env.reset(seed=0)
    prompts = [task.prompt for task in env.dynamics.tasks if task]
    for written in (prompts, ["red stars", "blue rings"], ["tiles", "pink box"]):
        if written is not prompts:
            observation, *_, info = env.step(written)
        images = torch.from_numpy(observation["image"]) / 255
        expected = (judge.embed(images) * judge.embed_prompts(written)).sum(dim=1)
        np.testing.assert_allclose(info["similarity/shown"], expected, atol=5e-3)


def test_in_image_steering_the_prompt_stays(folder: Path) -> None:
    judges = [{"name": "clip-alignment", "path": str(folder)}]
    env = ImageSteeringVectorEnv(2, rounds=1, observe=("image",), judges=judges)
    env.reset(seed=0)
    observation, *_, info = env.step(np.array([9, 9]))
    judge = CLIPAlignment(str(folder))
    images = torch.from_numpy(observation["image"]) / 255
    expected = (judge.embed(images) * judge.embed_prompts(env.dynamics.prompts)).sum(dim=1)
    np.testing.assert_allclose(info["similarity/clip-alignment"], expected, atol=5e-3)


def test_judges_are_told_apart() -> None:
    with pytest.raises(ValueError, match="two judges are called 'pixel-correlation': give them names"):
        ImageSteeringVectorEnv(judges=["pixel-correlation", "pixel-correlation:grid=8"])
    env = ImageSteeringVectorEnv(judges={"coarse": "pixel-correlation:grid=8", "fine": "pixel-correlation"})
    assert {"similarity/coarse", "similarity/fine"} <= env.reset(seed=0)[1].keys()


class TestDrawn:
    """The embedded domain's own, against what the renderer would draw."""

    def test_a_picture_agrees_more_with_its_own_caption(self, generator: Generator, metric: Metric) -> None:
        judge = DrawnAlignment(metric, generator.image_shape)
        assert isinstance(judge, Alignment)
        captions = ["nine red circle, on a white background", "one large blue ring, on a black background, no border"]
        latents = torch.randn(16, *generator.latent_shape, generator=torch.Generator().manual_seed(0))
        images = generator.generate(latents, generator.encode(captions * 8))
        cosines = judge.embed(images) @ judge.embed_prompts(captions).T
        own = cosines[torch.arange(16), torch.arange(16) % 2]
        other = cosines[torch.arange(16), 1 - torch.arange(16) % 2]
        assert bool((own > other).all())

    def test_a_caption_s_embedding_is_the_same_everywhere(self, generator: Generator, metric: Metric) -> None:
        first, second = (DrawnAlignment(metric, generator.image_shape) for _ in range(2))
        together = first.embed_prompts(["red star", "blue ring"])
        torch.testing.assert_close(together[1:], second.embed_prompts(["blue ring"]))
        torch.testing.assert_close(together.norm(dim=1), torch.ones(2))

    def test_a_user_who_stays_keeps_the_prompt_that_the_image_is_compared_with(
        self, generator: Generator, metric: Metric
    ) -> None:
        judge = DrawnAlignment(metric, generator.image_shape)
        human = load_human("hesitant", threshold=2.0)
        played = SteeringDynamics(LocalStudio(generator, metric, {"shown": judge}), human, 2, rounds=1)
        tasks = load_suite("tiles-val-v1")[:2]
        played.reset(tasks, [0, 1])
        before = played.judged()["shown"]
        played.rewrite(["red star", "blue ring"])
        assert played.prompts == [task.prompt for task in tasks]
        np.testing.assert_array_equal(played.judged()["shown"], before)
