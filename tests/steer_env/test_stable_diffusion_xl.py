"""Stable Diffusion XL on tiny random checkpoints, against diffusers' own pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import pytest
import torch

import steer_env  # noqa: F401  (registers the environments)
from steer_env.generators import load_generator
from steer_env.generators.stable_diffusion import StableDiffusionXLGenerator
from steer_env.proposals import draw_latents
from steer_env.testing import check_generator
from tests.steer_env.checkpoints import change, check_against_diffusers, diffusion_folder, images_of

PROMPTS = ["four red stars", "a blue ring", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_folder(tmp_path_factory.mktemp("xl"), xl=True)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """To be changed."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize(("steps", "guidance"), [(1, 1.0), (3, 5.0)])
def test_it_equals_the_diffusers_pipeline(folder: Path, steps: int, guidance: float) -> None:
    ours = load_generator("stable-diffusion-xl", path=str(folder), steps=steps, guidance_scale=guidance)
    check_against_diffusers(ours, folder, steps, guidance, PROMPTS)


def test_each_image_may_have_a_guidance_scale_of_its_own(folder: Path) -> None:
    ours = StableDiffusionXLGenerator(str(folder), 2, 7.5)
    scales = [1.0, 3.0, 5.0]
    found = ours.generate(draw_latents([0, 1, 2], ours.latent_shape), ours.encode_guided(PROMPTS, scales))
    others = [images_of(StableDiffusionXLGenerator(str(folder), 2, scale), PROMPTS) for scale in scales]
    expected = torch.stack([images[i] for i, images in enumerate(others)])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_no_prompt_is_encoded_or_zero_as_the_checkpoint_says(folder: Path, copy: Path) -> None:
    change(copy / "model_index.json", force_zeros_for_empty_prompt=False)
    ours = StableDiffusionXLGenerator(str(copy), 3, 5.0)
    found = check_against_diffusers(ours, copy, 3, 5.0, PROMPTS)
    zero = StableDiffusionXLGenerator(str(folder), 3, 5.0)
    assert (found - images_of(zero, PROMPTS)).abs().max() > 1e-3
    assert ours.fingerprint() != zero.fingerprint()


def test_latents_are_brought_to_the_decoders_mean_and_deviation(folder: Path, copy: Path) -> None:
    change(copy / "vae" / "config.json", latents_mean=[0.5, -0.5, 0.2, 0.0], latents_std=[2.0, 1.0, 0.5, 1.5])
    found = check_against_diffusers(StableDiffusionXLGenerator(str(copy), 2, 5.0), copy, 2, 5.0)
    assert (found - images_of(StableDiffusionXLGenerator(str(folder), 2, 5.0))).abs().max() > 1e-3


def test_the_denoiser_is_told_prompt_and_size(folder: Path) -> None:
    ours = StableDiffusionXLGenerator(str(folder), 1, 5.0)
    conditions = ours._arguments(ours.encode(PROMPTS))["added_cond_kwargs"]
    assert conditions["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]] * 3
    one, other, *_ = conditions["text_embeds"]
    assert not torch.equal(one, other)


@pytest.mark.parametrize("options", [{"guidance_scale": 1.0}, {"solver": "dpm++", "max_batch": 2, "decode_batch": 1}])
def test_conformance(folder: Path, options: dict[str, Any]) -> None:
    check_generator(StableDiffusionXLGenerator(str(folder), **{"steps": 2, "guidance_scale": 5.0, **options}))


def test_a_decoder_that_overflows_computes_in_float32(folder: Path, copy: Path) -> None:
    assert StableDiffusionXLGenerator(str(folder), dtype="float16").pipeline.vae.dtype == torch.float32
    change(copy / "vae" / "config.json", force_upcast=False)
    assert StableDiffusionXLGenerator(str(copy), dtype="float16").pipeline.vae.dtype == torch.float16
    found = images_of(StableDiffusionXLGenerator(str(folder), 1, 5.0, dtype="bfloat16"))
    torch.testing.assert_close(found, images_of(StableDiffusionXLGenerator(str(folder), 1, 5.0)), atol=0.05, rtol=0)


def test_it_travels(folder: Path) -> None:
    ours = StableDiffusionXLGenerator(str(folder), 1, 5.0)
    sent = cloudpickle.loads(cloudpickle.dumps(ours))
    assert torch.equal(images_of(sent, PROMPTS), images_of(ours, PROMPTS))
    assert sent.fingerprint() == ours.fingerprint()
    assert {value.device.type for value in sent.to("meta").encode(PROMPTS).values()} == {"meta"}


def test_an_environment_plays_on_it(folder: Path, tmp_path: Path) -> None:
    options = {"generator": {"name": "stable-diffusion-xl", "path": str(folder), "steps": 1}}
    env = gym.make(
        "steer_env/ImageSteering-v0", metric="pixel-correlation", goal_bank=str(tmp_path / "goals"), **options
    )
    first = env.reset(seed=0)[1]["similarity"]
    env.step(5)
    assert env.reset(seed=0)[1]["similarity"] == first


class TestErrors:
    def test_a_checkpoint_for_the_other_class(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"diffusers' StableDiffusionXLPipeline: .* generator=stable-diffusion-xl"):
            load_generator("stable-diffusion", path=str(folder))
        older = diffusion_folder(tmp_path / "older")
        with pytest.raises(ValueError, match=r"diffusers' StableDiffusionPipeline: .* generator=stable-diffusion$"):
            load_generator("stable-diffusion-xl", path=str(older))

    def test_a_refiner(self, copy: Path) -> None:
        change(copy / "model_index.json", text_encoder=[None, None], tokenizer=[None, None])
        with pytest.raises(ValueError, match="has one text encoder, as the refiner has"):
            StableDiffusionXLGenerator(str(copy))

    def test_a_checkpoint_that_lacks_weights(self, copy: Path) -> None:
        (copy / "text_encoder_2" / "model.safetensors").unlink()
        with pytest.raises(OSError, match="can't be loaded: a part of the checkpoint is missing"):
            StableDiffusionXLGenerator(str(copy))
