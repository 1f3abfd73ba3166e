"""What a checkpoint asks for is honoured, or refused when it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from steer_env.generators.stable_diffusion import StableDiffusionGenerator, StableDiffusionXLGenerator
from steer_env.proposals import draw_latents
from tests.steer_env.checkpoints import diffusion_folder

RANDOM: list[tuple[str, dict[str, Any]]] = [
    ("EulerAncestralDiscreteScheduler", {}),
    ("DDPMScheduler", {}),
    ("LCMScheduler", {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
]
CERTAIN = ["DDIM", "PNDM", "LMSDiscrete", "EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "DEISMultistep"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_folder(tmp_path_factory.mktemp("sd"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """To be changed."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def with_scheduler(folder: Path, name: str, **settings: Any) -> str:
    """The checkpoint with another scheduler, as diffusers saves it."""
    before = diffusers.DDIMScheduler.from_pretrained(folder, subfolder="scheduler").config
    getattr(diffusers, name).from_config(before, **settings).save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", name]}))
    return str(folder)


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(("name", "settings"), RANDOM)
def test_a_scheduler_that_draws_noise_is_refused(copy: Path, name: str, settings: dict[str, Any]) -> None:
    path = with_scheduler(copy, name, **settings)
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=rf"copy .*{name}.* fresh noise .* set solver to one of: ddim, .*unipc, euler"):
        StableDiffusionGenerator(path, 4)
    assert torch.equal(torch.get_rng_state(), state), "looking at it draws no number of others"
    ours = StableDiffusionGenerator(path, 4, solver="ddim")
    latents, conditioning = draw_latents([1, 2], ours.latent_shape), ours.encode(["a star", ""])
    assert torch.equal(ours.generate(latents, conditioning), ours.generate(latents, conditioning))


def test_a_named_solver_that_takes_over_the_noise_is_refused(copy: Path) -> None:
    path = with_scheduler(copy, "DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++")
    with pytest.raises(ValueError, match=r"DPMSolverMultistepScheduler, .* set solver to one of: ddim, unipc, euler"):
        StableDiffusionGenerator(path, 4, solver="dpm++")


@pytest.mark.parametrize("name", CERTAIN)
def test_schedulers_that_draw_nothing_are_the_checkpoints_own(copy: Path, name: str) -> None:
    """The image is that of the pipeline, also where the scheduler counts its own calls."""
    ours = StableDiffusionGenerator(with_scheduler(copy, f"{name}Scheduler"), 4, 2.0)
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(copy, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    latents = draw_latents([1], ours.latent_shape)
    options = {"num_inference_steps": 4, "guidance_scale": 2.0, "output_type": "pt"}
    expected = pipeline("a star", latents=latents, **options).images
    found = ours.generate(latents, ours.encode(["a star"]))
    torch.testing.assert_close(found, expected.float(), atol=2e-5, rtol=0)


def test_images_may_be_wider_than_high(copy: Path) -> None:
    change(copy / "unet" / "config.json", sample_size=[8, 12])
    ours = StableDiffusionGenerator(str(copy), 1)
    assert (ours.latent_shape, ours.image_shape) == ((4, 8, 12), (3, 16, 24))
    assert ours.generate(draw_latents([0], ours.latent_shape), ours.encode([""])).shape == (1, 3, 16, 24)


@pytest.mark.parametrize("size", [None, [8], [8, 0], "8", True])
def test_a_size_that_is_none(copy: Path, size: Any) -> None:
    change(copy / "unet" / "config.json", sample_size=size)
    with pytest.raises(ValueError, match=r"copy: sample_size in unet/config.json must be a number of latent pixels"):
        StableDiffusionGenerator(str(copy), 1)


@pytest.mark.parametrize("xl", [False, True])
def test_weights_of_a_variant(tmp_path: Path, xl: bool) -> None:
    plain = diffusion_folder(tmp_path / "plain", xl)
    half = Path(shutil.copytree(plain, tmp_path / "half"))
    for path in half.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    made = StableDiffusionXLGenerator if xl else StableDiffusionGenerator
    with pytest.raises(OSError, match=r"half can't be loaded: its weights are of a variant; set variant=fp16"):
        made(str(half), 1)
    ours, theirs = made(str(half), 1, variant="fp16"), made(str(plain), 1)
    latents = draw_latents([0], ours.latent_shape)
    assert torch.equal(ours.generate(latents, ours.encode([""])), theirs.generate(latents, theirs.encode([""])))
    assert ours.id.endswith("fp16")
