"""transformers' CLIP on random weights in its own format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from transformers import CLIPImageProcessorPil, CLIPModel

from steer_env.metrics import load_metric
from steer_env.metrics.checkpoints import CheckpointError
from steer_env.metrics.clip import CLIPMetric
from steer_env.testing import check_metric
from tests.steer_env.checkpoints import Trap, check_travels, clip_folder, pictures, pil


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be spoilt."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


@torch.inference_mode()
def reference(folder: Path, pixels: torch.Tensor) -> torch.Tensor:
    """Cosines of all pairs, as the whole model gives them."""
    features = CLIPModel.from_pretrained(folder).get_image_features(pixel_values=pixels).pooler_output
    return torch.nn.functional.cosine_similarity(features[:, None], features[None], dim=2)


def test_conformance(folder: Path) -> None:
    check_metric(load_metric("clip", path=str(folder)), pictures(4, 48))


def test_it_travels(folder: Path) -> None:
    check_travels(CLIPMetric(str(folder)))


def test_similarities_are_those_of_the_whole_model(folder: Path) -> None:
    images = pictures(6, 32)
    processed = CLIPImageProcessorPil.from_pretrained(folder)([pil(image) for image in images], return_tensors="pt")
    embeddings = CLIPMetric(str(folder)).embed(images)
    expected = reference(folder, processed["pixel_values"])
    assert float(expected.min()) < 0.99
    torch.testing.assert_close(embeddings @ embeddings.T, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (40, 57), (57, 40), (512, 512)])
def test_preprocessing_on_the_device_is_that_of_the_checkpoint(folder: Path, height: int, width: int) -> None:
    """But for single values off by 1 or 2 of 255, see ``test_resizing``."""
    images = pictures(6, max(height, width))[:, :, :height, :width]
    processed = CLIPImageProcessorPil.from_pretrained(folder)([pil(image) for image in images], return_tensors="pt")
    prepare = CLIPMetric(str(folder)).prepare
    gap = (prepare(images) - processed["pixel_values"]).abs() * torch.tensor(prepare.std).view(3, 1, 1) * 255
    assert float(gap.max()) <= 2.01
    assert float(gap.mean()) < 0.02


def test_it_splits_a_batch_that_is_too_large(folder: Path) -> None:
    images = pictures(5, 48)
    torch.testing.assert_close(
        CLIPMetric(str(folder), max_batch=2).embed(images), CLIPMetric(str(folder)).embed(images)
    )


def test_the_id_says_weights_and_precision(folder: Path, damaged: Path, tmp_path: Path) -> None:
    metric = CLIPMetric(str(folder))
    assert CLIPMetric(str(damaged)).id == metric.id
    assert CLIPMetric(str(clip_folder(tmp_path / "other", seed=1))).id != metric.id
    halved = CLIPMetric(str(folder), dtype="bfloat16")
    assert halved.id == f"{metric.id}-bfloat16"
    images = pictures(3, 48)
    torch.testing.assert_close(halved.embed(images), metric.embed(images), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, damaged: Path) -> None:
    (damaged / name).unlink()
    with pytest.raises(CheckpointError, match=f"lacks {name}.*save_pretrained"):
        CLIPMetric(str(damaged))


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_truncated_file(name: str, damaged: Path) -> None:
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"is damaged.*save_pretrained"):
        CLIPMetric(str(damaged))


def test_pickled_weights_are_refused_unread(damaged: Path, tmp_path: Path) -> None:
    (damaged / "model.safetensors").unlink()
    torch.save(Trap(tmp_path / "sprung"), damaged / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is pickled"):
        CLIPMetric(str(damaged))
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_width(damaged: Path, tmp_path: Path) -> None:
    wider = clip_folder(tmp_path / "wider", hidden_size=64)
    shutil.copy(wider / "model.safetensors", damaged / "model.safetensors")
    with pytest.raises(CheckpointError, match="of another shape"):
        CLIPMetric(str(damaged))


def test_fewer_layers_than_the_configuration_says(damaged: Path) -> None:
    """transformers alone only warns, and draws the rest at random."""
    config = json.loads((damaged / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 3
    (damaged / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"vision_model\.encoder\.layers\.2.* are missing"):
        CLIPMetric(str(damaged))


@pytest.mark.parametrize("change", [{"resample": 0}, {"do_resize": False}, {"crop_size": {"height": 24, "width": 24}}])
def test_preprocessing_of_another_kind(change: dict[str, Any], damaged: Path) -> None:
    path = damaged / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json isn't CLIP's"):
        CLIPMetric(str(damaged))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        CLIPMetric(str(tmp_path / "nothing"))


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"can't be had from the hub: .* by hand, .*as its path"):
        CLIPMetric()


def test_a_hub_id_that_cannot_be_one() -> None:
    with pytest.raises(CheckpointError, match="can't be had from the hub"):
        CLIPMetric("folder/of/mine")


def test_bad_options(folder: Path) -> None:
    with pytest.raises(ValueError, match="float8"):
        CLIPMetric(str(folder), dtype="float8")
    with pytest.raises(ValueError, match="max_batch"):
        CLIPMetric(str(folder), max_batch=0)
