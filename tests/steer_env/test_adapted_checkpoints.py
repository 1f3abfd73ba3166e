"""What people add to a checkpoint: LoRA weights, a small decoder; and checkpoints in a single file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from steer_env.generators import load_generator
from steer_env.generators.stable_diffusion import StableDiffusionGenerator, StableDiffusionXLGenerator
from tests.steer_env.checkpoints import (
    check_against_diffusers,
    diffusion_folder,
    images_of,
    single_file,
    tiny_decoder,
)
from tests.steer_env.pipelines import check_steered

KINDS = {False: StableDiffusionGenerator, True: StableDiffusionXLGenerator}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_folder(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return single_file(folder, tmp_path_factory.mktemp("file") / "one.safetensors")


@pytest.fixture(scope="module")
def lora(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of LoRA weights for the denoiser, as diffusers saves them."""
    peft = pytest.importorskip("peft", reason="needs steer-env[lora]")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    settings = peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline.unet.add_adapter(settings)
    weights = peft.get_peft_model_state_dict(pipeline.unet)
    weights = {name: 10 * value for name, value in weights.items()}
    to = tmp_path_factory.mktemp("lora")
    diffusers.StableDiffusionPipeline.save_lora_weights(to, unet_lora_layers=weights)
    return to / "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoder(tmp_path_factory.mktemp("taesd"))


@pytest.mark.parametrize("kind", ["file", "lora", "distilled"])
def test_it_is_steered(kind: str, folder: Path, file: Path, lora: Path, tmp_path: Path) -> None:
    checkpoint: dict[str, Any] = {"path": str(folder), "lora": str(lora)}
    if kind == "file":
        checkpoint = {"path": str(file), "config": str(folder)}
    elif kind == "distilled":
        checkpoint = {"path": str(diffusion_folder(tmp_path, unet={"time_cond_proj_dim": 8}))}
    check_steered({"name": "stable-diffusion", "steps": 2, **checkpoint})


class TestAdapters:
    @pytest.mark.parametrize("whole", [False, True], ids=["file", "folder"])
    def test_lora_is_added_with_its_weight(self, folder: Path, lora: Path, whole: bool) -> None:
        path = str(lora.parent if whole else lora)
        ours = StableDiffusionGenerator(str(folder), 2, lora=path, lora_weight=0.5)
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name="mine")
        pipeline.set_adapters("mine", 0.5)
        plain = StableDiffusionGenerator(str(folder), 2)
        assert (check_against_diffusers(ours, pipeline, 2, 7.5) - images_of(plain)).abs().max() > 1e-3
        assert ours.id.endswith(f"@2x7.5 lora={path}*0.5")
        assert ours.fingerprint() != plain.fingerprint()

    def test_the_same_through_the_pipeline_itself(self, folder: Path, lora: Path) -> None:
        ours, fast = (
            load_generator({"name": name, "path": str(folder), "steps": 2, "lora": str(lora)})
            for name in ("diffusers", "stable-diffusion")
        )
        torch.testing.assert_close(images_of(ours), images_of(fast), atol=2e-5, rtol=0)

    def test_weights_for_another_model(self, folder: Path, lora: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.safetensors"
        save_file({"nothing.lora_A.weight": torch.zeros(2, 2)}, other)
        with pytest.raises(ValueError, match=r"lora .*other.safetensors (can't be added|holds no weights)"):
            StableDiffusionGenerator(str(folder), 2, lora=str(other))
        with pytest.raises(ValueError, match=r"lora .*none.safetensors can't be added to StableDiffusionPipeline: "):
            StableDiffusionGenerator(str(folder), 2, lora=str(tmp_path / "none.safetensors"))


class TestSmallDecoder:
    @pytest.mark.parametrize("xl", [False, True])
    def test_it_takes_the_place_of_the_checkpoints(self, decoder: Path, tmp_path: Path, xl: bool) -> None:
        folder, kind = diffusion_folder(tmp_path / "m", xl), KINDS[xl]
        ours, plain = kind(str(folder), 2, decoder=str(decoder)), kind(str(folder), 2)
        found, usual = images_of(ours), images_of(plain)
        assert found.shape == usual.shape
        assert (found - usual).abs().max() > 1e-3
        assert ours.id.endswith(f"decoder={decoder}")
        assert ours.fingerprint() != plain.fingerprint()
        through = load_generator({"name": "diffusers", "path": str(folder), "steps": 2, "decoder": str(decoder)})
        scale = {"guidance_scale": 7.5} if not xl else {"guidance_scale": through._arguments.get("guidance_scale", 5.0)}
        fast = kind(str(folder), 2, decoder=str(decoder), **scale)
        torch.testing.assert_close(images_of(through), images_of(fast), atol=2e-5, rtol=0)

    def test_a_folder_that_is_none(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"decoder .* can't be loaded as TAESD's kind of decoder: "):
            StableDiffusionGenerator(str(folder), 2, decoder=str(tmp_path))


class TestSingleFile:
    """One ``.safetensors`` file, as most fine-tuned checkpoints come."""

    @pytest.mark.parametrize("name", ["stable-diffusion", "diffusers"])
    def test_its_images_are_those_of_the_folder(self, folder: Path, file: Path, name: str) -> None:
        settings = {"name": name, "steps": 2, "guidance_scale": 3.0}
        ours = load_generator({**settings, "path": str(file), "config": str(folder)})
        whole = load_generator({**settings, "path": str(folder)})
        torch.testing.assert_close(images_of(ours), images_of(whole), atol=2e-5, rtol=0)
        assert ours.id == f"{file}@2x3"

    def test_without_its_configuration_and_without_a_network(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(OSError, match=r"one.safetensors can't be loaded: a single file holds no.* config=FOLDER"):
            StableDiffusionGenerator(str(file), 2)
        with pytest.raises(ValueError, match=r"one.safetensors is a single file: set config=FOLDER, whose model_index"):
            load_generator({"name": "diffusers", "path": str(file)})

    def test_files_that_cant_be_read(self, folder: Path, tmp_path: Path) -> None:
        pickled, damaged = tmp_path / "model.ckpt", tmp_path / "model.safetensors"
        with pytest.raises(FileNotFoundError, match=r"there is no file .*model.safetensors"):
            StableDiffusionGenerator(str(damaged), 2, config=str(folder))
        pickled.write_bytes(b"\x80\x04.")
        damaged.write_bytes(b"x" * 99)
        with pytest.raises(ValueError, match=r"model.ckpt is no safetensors file; others may hold code"):
            StableDiffusionGenerator(str(pickled), 2, config=str(folder))
        with pytest.raises(OSError, match=r"model.safetensors can't be loaded: it is damaged, or isn't a model of"):
            StableDiffusionGenerator(str(damaged), 2, config=str(folder))

    def test_a_configuration_of_the_other_family(self, file: Path, tmp_path: Path) -> None:
        other = diffusion_folder(tmp_path / "xl", xl=True)
        with pytest.raises(ValueError, match=r"is a checkpoint for diffusers' StableDiffusionXLPipeline: read it with"):
            StableDiffusionGenerator(str(file), 2, config=str(other))
