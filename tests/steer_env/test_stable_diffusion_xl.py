"""Stable Diffusion XL on tiny random checkpoints, against diffusers' own pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import pytest
import torch
from torch import Tensor

import steer_env  # noqa: F401  (registers the environments)
from steer_env.generators import load_generator
from steer_env.generators.stable_diffusion import StableDiffusionXLGenerator
from steer_env.proposals import draw_latents
from steer_env.testing import check_generator
from tests.steer_env.checkpoints import change, diffusion_folder

PROMPTS = ["four red stars", "a blue ring", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_folder(tmp_path_factory.mktemp("xl"), xl=True)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """To be changed."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def pictures(generator: Any, prompts: list[str] = PROMPTS) -> Tensor:
    latents = draw_latents(list(range(len(prompts))), generator.latent_shape)
    return generator.generate(latents, generator.encode(prompts))


def of_the_pipeline(folder: Path, steps: int, guidance: float) -> Tensor:
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    images = [
        pipeline(
            prompt,
            latents=draw_latents([seed], (4, 8, 8)),
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="pt",
        ).images[0]
        for seed, prompt in enumerate(PROMPTS)
    ]
    return torch.stack(images)


@pytest.mark.parametrize(("steps", "guidance"), [(1, 1.0), (3, 5.0)])
def test_it_equals_the_diffusers_pipeline(folder: Path, steps: int, guidance: float) -> None:
    ours = load_generator("stable-diffusion-xl", path=str(folder), steps=steps, guidance_scale=guidance)
    expected = of_the_pipeline(folder, steps, guidance)
    assert expected.std() > 0.01
    torch.testing.assert_close(pictures(ours), expected, atol=2e-5, rtol=0)


def test_each_image_may_have_a_guidance_scale_of_its_own(folder: Path) -> None:
    ours = StableDiffusionXLGenerator(str(folder), 2, 7.5)
    latents = draw_latents([0, 1, 2], ours.latent_shape)
    found = ours.generate(latents, ours.encode_guided(PROMPTS, [1.0, 3.0, 5.0]))
    expected = torch.stack([of_the_pipeline(folder, 2, scale)[i] for i, scale in enumerate([1.0, 3.0, 5.0])])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_no_prompt_is_encoded_or_zero_as_the_checkpoint_says(folder: Path, copy: Path) -> None:
    change(copy / "model_index.json", force_zeros_for_empty_prompt=False)
    ours = StableDiffusionXLGenerator(str(copy), 3, 5.0)
    found = pictures(ours)
    torch.testing.assert_close(found, of_the_pipeline(copy, 3, 5.0), atol=2e-5, rtol=0)
    zero = StableDiffusionXLGenerator(str(folder), 3, 5.0)
    assert (found - pictures(zero)).abs().max() > 1e-3
    assert ours.fingerprint() != zero.fingerprint()


def test_latents_are_brought_to_the_decoders_mean_and_deviation(folder: Path, copy: Path) -> None:
    change(copy / "vae" / "config.json", latents_mean=[0.5, -0.5, 0.2, 0.0], latents_std=[2.0, 1.0, 0.5, 1.5])
    found = pictures(StableDiffusionXLGenerator(str(copy), 2, 5.0))
    torch.testing.assert_close(found, of_the_pipeline(copy, 2, 5.0), atol=2e-5, rtol=0)
    assert (found - pictures(StableDiffusionXLGenerator(str(folder), 2, 5.0))).abs().max() > 1e-3


def test_the_denoiser_is_told_prompt_and_size(folder: Path) -> None:
    ours = StableDiffusionXLGenerator(str(folder), 1, 5.0)
    told = ours._arguments(ours.encode(PROMPTS))["added_cond_kwargs"]
    assert told["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]] * 3
    one, other, *_ = told["text_embeds"]
    assert not torch.equal(one, other)


@pytest.mark.parametrize("options", [{"guidance_scale": 1.0}, {"solver": "dpm++", "max_batch": 2, "decode_batch": 1}])
def test_conformance(folder: Path, options: dict[str, Any]) -> None:
    check_generator(StableDiffusionXLGenerator(str(folder), **{"steps": 2, "guidance_scale": 5.0, **options}))


def test_a_decoder_that_overflows_computes_in_float32(folder: Path, copy: Path) -> None:
    assert StableDiffusionXLGenerator(str(folder), dtype="float16").pipeline.vae.dtype == torch.float32
    change(copy / "vae" / "config.json", force_upcast=False)
    assert StableDiffusionXLGenerator(str(copy), dtype="float16").pipeline.vae.dtype == torch.float16
    found = pictures(StableDiffusionXLGenerator(str(folder), 1, 5.0, dtype="bfloat16"))
    torch.testing.assert_close(found, pictures(StableDiffusionXLGenerator(str(folder), 1, 5.0)), atol=0.05, rtol=0)


def test_it_travels(folder: Path) -> None:
    ours = StableDiffusionXLGenerator(str(folder), 1, 5.0)
    sent = cloudpickle.loads(cloudpickle.dumps(ours))
    assert torch.equal(pictures(sent), pictures(ours))
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
