"""Any pipeline of diffusers that takes latents: tiny random checkpoints of six classes are steered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch

from steer_env.generators import load_generator
from steer_env.generators.pipelines import PipelineGenerator
from steer_env.testing import check_generator
from tests.steer_env.checkpoints import change, check_against_diffusers, images_of
from tests.steer_env.pipelines import FAMILIES, SIZES, check_steered, pipeline_folder

SHAPES = {"flux": (16, 16), "sana": (4, 16, 16)}
PASSES = {"sd": 6, "xl": 6, "sd3": 6, "flux": 3, "pixart": 6, "sana": 6}
"""Of three steps; Flux takes guidance as an input."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {name: pipeline_folder(name, root / name) for name in FAMILIES}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """Stable Diffusion, to be changed."""
    return Path(shutil.copytree(folders["sd"], tmp_path / "copy"))


def spec(folders: dict[str, Path], name: str, **options: Any) -> dict[str, Any]:
    return {"name": "diffusers", "path": str(folders[name]), "steps": 3, **SIZES.get(name, {}), **options}


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_the_pipelines_image_and_keeps_the_protocol(folders: dict[str, Path], name: str) -> None:
    ours = load_generator(spec(folders, name, guidance_scale=3.0))
    assert ours.latent_shape == SHAPES.get(name, (4, 8, 8))
    assert ours.passes == PASSES[name]
    check_generator(ours, ("", "a star", "four red rings"))
    extra = {key: value for key, value in SIZES.get(name, {}).items() if key != "arguments"}
    if name == "flux":
        extra["max_sequence_length"] = 12
    if name in ("pixart", "sana"):
        extra["use_resolution_binning"] = False
    check_against_diffusers(ours, folders[name], 3, 3.0, ["a star", "two red rings"], **extra)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_steered_by_images_and_by_text_and_twice_alike(folders: dict[str, Path], name: str) -> None:
    check_steered(spec(folders, name))


@pytest.mark.parametrize(("name", "fast"), [("sd", "stable-diffusion"), ("xl", "stable-diffusion-xl")])
def test_the_fast_path_makes_the_same_images(folders: dict[str, Path], name: str, fast: str) -> None:
    settings = {"guidance_scale": 3.0, "height": 16, "width": 24}
    ours = load_generator(spec(folders, name, **settings))
    other = load_generator({"name": fast, "path": str(folders[name]), "steps": 3, **settings})
    assert ours.image_shape == other.image_shape == (3, 16, 24)
    assert ours.latent_shape == other.latent_shape
    torch.testing.assert_close(images_of(ours, ["a star", ""]), images_of(other, ["a star", ""]), atol=2e-5, rtol=0)


def test_the_usual_settings_are_the_pipelines(folders: dict[str, Path]) -> None:
    ours = PipelineGenerator(str(folders["pixart"]), max_batch=2)
    assert (ours.steps, ours.passes) == (20, 40)
    assert ours.id == f"{folders['pixart']}@20x4.5"
    assert ours.fingerprint() != PipelineGenerator(str(folders["pixart"]), guidance_scale=2.0).fingerprint()


def test_it_travels(folders: dict[str, Path]) -> None:
    ours = load_generator(spec(folders, "sd3"))
    sent = cloudpickle.loads(cloudpickle.dumps(ours))
    # Weights that lie elsewhere in memory may be rounded in another order.
    torch.testing.assert_close(images_of(sent), images_of(ours), atol=2e-5, rtol=0)
    assert sent.fingerprint() == ours.fingerprint()
    assert sent.to("meta").encode(["a star"])["prompt"].device.type == "meta"


def test_prompts_of_any_letters_arrive(folders: dict[str, Path]) -> None:
    ours = load_generator(spec(folders, "sd"))
    seen: list[str] = []
    call = ours._call
    ours._call = lambda prompts, *others: seen.extend(prompts) or call(prompts, *others)
    try:
        prompts = ["", "ein Stern, größer", "星", "a" * 4096]
        images_of(ours, prompts)
    finally:
        del ours._call
    assert seen == prompts
    for prompt in ("a" * 4097, "a\0b"):
        with pytest.raises(ValueError, match=r"a prompt has at most 4096 bytes, none of them zero, got 'a"):
            ours.encode([prompt])


class TestRefusals:
    @pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "DDPMScheduler"])
    def test_a_scheduler_that_draws_noise(self, copy: Path, name: str) -> None:
        change(copy / "model_index.json", scheduler=["diffusers", name])
        message = rf"copy makes other images .* each time: its {name}.*replace by one of: ddim, dpm\+\+, unipc, euler"
        with pytest.raises(ValueError, match=message):
            PipelineGenerator(str(copy), steps=3)
        check_generator(PipelineGenerator(str(copy), steps=3, solver="euler"))

    def test_what_else_is_in_a_batch_changes_an_image(self, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        call = PipelineGenerator._call
        spoilt = lambda self, *inputs: (images := call(self, *inputs)) / 2 + images.mean() / 2  # noqa: E731
        monkeypatch.setattr(PipelineGenerator, "_call", spoilt)
        with pytest.raises(ValueError, match=r"copy makes another image in a batch than alone, 0\.\d+ apart"):
            PipelineGenerator(str(copy), steps=1)

    def test_pixels_that_are_not_finite(self, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        call = PipelineGenerator._call
        monkeypatch.setattr(PipelineGenerator, "_call", lambda self, *inputs: call(self, *inputs) * torch.nan)
        with pytest.raises(ValueError, match=r"copy makes pixels that aren't finite in float16: set dtype=float32"):
            PipelineGenerator(str(copy), steps=1, dtype="float16")

    def test_a_pipeline_of_another_kind(self, copy: Path) -> None:
        change(copy / "model_index.json", _class_name="StableDiffusionImg2ImgPipeline")
        with pytest.raises(
            ValueError, match=r"is for diffusers' StableDiffusionImg2ImgPipeline, which takes no latents"
        ):
            PipelineGenerator(str(copy))

    def test_a_pipeline_that_brings_code(self, copy: Path) -> None:
        (copy / "mine.py").write_text("raise SystemExit('run')")
        change(copy / "model_index.json", _class_name=["mine", "Mine"])
        with pytest.raises(ValueError, match=r"copy needs code of its own, \['mine', 'Mine'\], which isn't run"):
            PipelineGenerator(str(copy))
        change(copy / "model_index.json", _class_name="StableDiffusionPipeline", unet=["mine", "Mine"])
        (copy / "unet" / "mine.py").write_text("raise SystemExit('run')")
        with pytest.raises(OSError, match=r"copy can't be loaded"):
            PipelineGenerator(str(copy))

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("flux", {"solver": "ddim"}, r"solver ddim can't take the place of FlowMatchEuler.*no solver can replace"),
            (
                "flux",
                {"height": 18, "width": 16},
                r"makes images of 16 × 16 pixels, where height is 18 and width 16: set",
            ),
            (
                "sd",
                {"arguments": {"strength": 1.0}},
                r"strength can't be set for diffusers' StableDiffusionPipeline of",
            ),
            ("sd", {"arguments": {"latents": 1.0}}, r"latents can't be set"),
            ("sd", {"height": 24}, r"makes images of 16 × 16 pixels, where height is 24 and width 0: set both"),
            ("sd", {"height": 12, "width": 16}, r"can't be steered: its Stable.* makes no image: .*divisible by 8"),
            ("sd", {"height": -8}, "height must be from 0 to 16384, got -8"),
            ("sd", {"steps": -1}, "steps must be from 0 to 1000, got -1"),
        ],
    )
    def test_options_that_it_cant_have(
        self, folders: dict[str, Path], name: str, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            PipelineGenerator(str(folders[name]), **options)

    def test_a_folder_that_holds_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"it holds no model_index\.json"):
            PipelineGenerator(str(tmp_path))


def test_a_checkpoint_of_whatever_family_can_be_named_in_a_word(folders: dict[str, Path]) -> None:
    word = f"diffusers:path={folders['sd']},steps=2,arguments={{guidance_rescale: 0.5}}"
    ours = load_generator(word)
    assert ours.id.endswith("@2x7.5 guidance_rescale=0.5")
