"""What a checkpoint asks for is honoured, or refused when it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from steer_env.generators import load_generator
from steer_env.generators.stable_diffusion import StableDiffusionGenerator, StableDiffusionXLGenerator
from steer_env.proposals import draw_latents
from tests.steer_env.checkpoints import change, check_against_diffusers, diffusion_folder, images_of

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


@pytest.mark.parametrize(("name", "settings"), RANDOM)
def test_a_scheduler_that_draws_noise_is_refused(copy: Path, name: str, settings: dict[str, Any]) -> None:
    path = with_scheduler(copy, name, **settings)
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=rf"copy .*{name}.* fresh noise .* set solver to one of: ddim, .*unipc, euler"):
        StableDiffusionGenerator(path, 4)
    assert torch.equal(torch.get_rng_state(), state), "looking at it draws no number of others"
    ours = StableDiffusionGenerator(path, 4, solver="ddim")
    assert torch.equal(images_of(ours), images_of(ours))


def test_a_named_solver_that_takes_over_the_noise_is_refused(copy: Path) -> None:
    path = with_scheduler(copy, "DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++")
    with pytest.raises(ValueError, match=r"DPMSolverMultistepScheduler, .* set solver to one of: ddim, unipc, euler"):
        StableDiffusionGenerator(path, 4, solver="dpm++")


@pytest.mark.parametrize("name", CERTAIN)
def test_schedulers_that_draw_nothing_are_the_checkpoints_own(copy: Path, name: str) -> None:
    """The image is that of the pipeline, also where the scheduler counts its own calls."""
    ours = StableDiffusionGenerator(with_scheduler(copy, f"{name}Scheduler"), 4, 2.0)
    check_against_diffusers(ours, copy, 4, 2.0)
    sizes: list[int] = []
    ours.pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    images_of(ours)
    assert ours.passes == sum(sizes), "some methods ask the denoiser more than once a step"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("FlowMatchEulerDiscreteScheduler", {}),
        ("RePaintScheduler", {}),
        ("DDIMScheduler", {"num_train_timesteps": 4}),
        ("SASolverScheduler", {}),
    ],
)
def test_a_scheduler_of_another_kind_is_one_line_with_the_checkpoint(
    copy: Path, name: str, settings: dict[str, Any]
) -> None:
    path = with_scheduler(copy, name, **settings)
    with pytest.raises(ValueError, match=rf"^{path} [^\n]*$"):
        load_generator("stable-diffusion", path=path, steps=4)


def test_weights_that_are_missing_arent_drawn_at_random(copy: Path) -> None:
    file = copy / "text_encoder" / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if "layers.1." not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"copy lacks \S*layers\.1\.\S* and 15 other weights of its text_encoder: random"
    ):
        StableDiffusionGenerator(str(copy), 1)


def test_images_may_be_wider_than_high(copy: Path) -> None:
    change(copy / "unet" / "config.json", sample_size=[8, 12])
    ours = StableDiffusionGenerator(str(copy), 1)
    assert (ours.latent_shape, ours.image_shape) == ((4, 8, 12), (3, 16, 24))
    assert images_of(ours).shape == (1, 3, 16, 24)


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
    assert torch.equal(images_of(ours), images_of(theirs))
    assert ours.id.endswith("fp16")


@pytest.fixture(scope="module", params=[False, True], ids=["sd", "xl"])
def distilled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    xl = request.param
    folder = diffusion_folder(tmp_path_factory.mktemp("distilled"), xl, unet={"time_cond_proj_dim": 8})
    return folder, StableDiffusionXLGenerator if xl else StableDiffusionGenerator


class TestGuidanceAsAnInput:
    """A distilled denoiser takes the guidance scale as an input, in one pass (LCM, some Turbo models)."""

    def test_the_image_is_the_pipelines_in_one_pass(self, distilled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        folder, kind = distilled
        ours = kind(str(folder), 3, 5.0)
        sizes: list[int] = []
        forward = ours._unet.forward
        monkeypatch.setattr(ours._unet, "forward", lambda x, *a, **k: sizes.append(len(x)) or forward(x, *a, **k))
        check_against_diffusers(ours, folder, 3, 5.0)
        assert sizes == [1, 1, 1]
        assert ours.passes == 3

    def test_each_image_may_have_a_scale_of_its_own(self, distilled: Any) -> None:
        folder, kind = distilled
        ours = kind(str(folder), 2, 5.0)
        latents, prompts = draw_latents([1, 2], ours.latent_shape), ["a star", "a ring"]
        found = ours.generate(latents, ours.encode_guided(prompts, [1.0, 8.0]))
        for i, scale in enumerate((1.0, 8.0)):
            other = kind(str(folder), 2, scale)
            expected = other.generate(latents[i : i + 1], other.encode(prompts[i : i + 1]))
            torch.testing.assert_close(found[i : i + 1], expected, atol=2e-5, rtol=0)
        assert (found - ours.generate(latents, ours.encode(prompts))).abs().max() > 1e-4

    def test_previews_and_glimpses_have_it_too(self, distilled: Any) -> None:
        folder, kind = distilled
        ours, unguided = kind(str(folder), 2, 5.0), kind(str(folder), 1, 1.0)
        assert ours.glimpse(draw_latents([1], ours.latent_shape), ours.encode(["a star"])).ndim == 4
        torch.testing.assert_close(images_of(ours.preview(1)), images_of(unguided), atol=2e-5, rtol=0)


def test_v_prediction_is_the_pipelines(tmp_path: Path) -> None:
    settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    folder = diffusion_folder(tmp_path / "v", scheduler=settings)
    check_against_diffusers(StableDiffusionGenerator(str(folder), 4, 2.0), folder, 4, 2.0)


class TestTheFirstImages:
    """At load one image is made twice, in a batch and alone, and by diffusers' own pipeline."""

    def test_an_image_that_is_another_each_time(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        decode = StableDiffusionGenerator._decode
        noisy = lambda self, sample: decode(self, sample + 0.1 * torch.randn_like(sample))  # noqa: E731
        monkeypatch.setattr(StableDiffusionGenerator, "_decode", noisy)
        with pytest.raises(ValueError, match=r"makes other images of the same latents and prompts each time: its DDIM"):
            StableDiffusionGenerator(str(folder), 1)

    def test_a_demand_that_isnt_met(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        decode = StableDiffusionGenerator._decode
        monkeypatch.setattr(StableDiffusionGenerator, "_decode", lambda self, sample: decode(self, 1.5 * sample))
        with pytest.raises(ValueError, match=r"its image is 0\.\d+ away from that of diffusers' Stable.*=diffusers$"):
            StableDiffusionGenerator(str(folder), 1)

    def test_others_random_numbers_and_prompts_are_left_alone(self, folder: Path) -> None:
        state = torch.get_rng_state()
        ours = StableDiffusionGenerator(str(folder), 1)
        assert torch.equal(torch.get_rng_state(), state)
        assert not ours._prompts._known


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 20}, "height and width must be multiples of 8 pixels, got 20 and 0"),
        ({"width": -8}, "width must be from 0 to 16384, got -8"),
    ],
)
def test_sizes_that_cant_be(folder: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StableDiffusionGenerator(str(folder), 1, **options)
