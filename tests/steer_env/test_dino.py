"""transformers' DINOv2 and DINOv3 on random weights in their own format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from steer_env.compatibility import mend_torchvision, quiet
from steer_env.metrics import load_metric
from steer_env.metrics.checkpoints import CheckpointError
from steer_env.metrics.dino import DINOMetric
from steer_env.testing import check_metric
from tests.steer_env.checkpoints import change, check_travels, clip_folder, pictures, pil

NARROW = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
CROPPED = {
    "size": {"shortest_edge": 40},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "resample": 3,
}
SQUASHED = {"size": {"height": 32, "width": 32}, "resample": 2}
CHANNELS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "dinov2": ("Dinov2", NARROW, CROPPED),
    "dinov2_with_registers": ("Dinov2WithRegisters", NARROW, CROPPED),
    "dinov3_vit": ("DINOv3ViT", {**NARROW, "intermediate_size": 64}, SQUASHED),
    "dinov3_convnext": ("DINOv3ConvNext", {"hidden_sizes": [8, 8, 16, 32], "depths": [1, 1, 1, 1]}, SQUASHED),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    mend_torchvision()
    import transformers

    root = tmp_path_factory.mktemp("dino")
    for name, (kind, settings, prepared) in KINDS.items():
        with torch.random.fork_rng(), quiet():
            torch.manual_seed(0)
            model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**settings))
            for value in model.parameters():
                # As they are drawn, weights are too small to tell pictures apart.
                value.data += 0.1 * torch.randn_like(value)
            model.save_pretrained(root / name)
        (root / name / "preprocessor_config.json").write_text(json.dumps({**prepared, **CHANNELS}))
    return {name: root / name for name in KINDS}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """To be changed."""
    return Path(shutil.copytree(folders["dinov2"], tmp_path / "copy"))


@pytest.mark.parametrize("name", KINDS)
def test_it_is_the_models_own_embedding(folders: dict[str, Path], name: str) -> None:
    import transformers

    metric, images = load_metric(f"dino:path={folders[name]}"), pictures(3, 48)
    check_metric(metric, images)
    assert metric.dimensions == 32
    assert metric.id.startswith("dino-")
    kind, _, prepared = KINDS[name]
    pixels = []
    for image in map(pil, images):
        side = prepared["size"].get("shortest_edge", 32)
        small = image.resize((side, side), prepared["resample"])
        edge = (side - 32) // 2
        small = small.crop((edge, edge, edge + 32, edge + 32))
        values = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1) / 255
        mean, std = (torch.tensor(CHANNELS[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
        pixels.append((values - mean) / std)
    with torch.inference_mode():
        features = (
            getattr(transformers, f"{kind}Model").from_pretrained(folders[name])(torch.stack(pixels)).pooler_output
        )
    expected = torch.nn.functional.cosine_similarity(features[:, None], features[None], dim=2)
    embedded = metric.embed(images)
    # Single values of a resized picture may be off by 1/255.
    torch.testing.assert_close(metric.similarity(embedded[:, None], embedded[None]), expected, atol=0.02, rtol=0)
    assert expected.min() < 0.98


def test_it_travels(folders: dict[str, Path]) -> None:
    check_travels(DINOMetric(str(folders["dinov2"])))


def test_other_weights_and_other_preparations_are_other_metrics(folders: dict[str, Path], copy: Path) -> None:
    before = DINOMetric(str(folders["dinov2"])).id
    change(copy / "preprocessor_config.json", resample=2)
    assert DINOMetric(str(copy)).id != before
    assert DINOMetric(str(folders["dinov2"]), dtype="bfloat16").id == f"{before}-bfloat16"


class TestRefusals:
    @pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
    def test_a_file_that_is_missing(self, copy: Path, name: str) -> None:
        (copy / name).unlink()
        with pytest.raises(CheckpointError, match=rf"copy lacks {name}\. A DINO checkpoint"):
            DINOMetric(str(copy))

    def test_another_network(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"is no DINO: unknown kind of DINO 'clip'; .*There are: dinov2"):
            DINOMetric(str(clip_folder(tmp_path / "clip")))

    def test_weights_of_another_shape(self, copy: Path) -> None:
        change(copy / "config.json", hidden_size=16)
        with pytest.raises(CheckpointError, match=r"copy isn't DINO of the architecture that its config.json"):
            DINOMetric(str(copy))

    @pytest.mark.parametrize("spoilt", [{"resample": 0}, {"crop_size": None}, {"size": 3}, {"image_mean": None}])
    def test_images_prepared_in_another_way(self, copy: Path, spoilt: dict[str, Any]) -> None:
        change(copy / "preprocessor_config.json", **spoilt)
        with pytest.raises(CheckpointError, match=r"preprocessor_config.json isn't of DINO's kind: expected are"):
            DINOMetric(str(copy))

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"is no folder. A DINO checkpoint"):
            DINOMetric(str(tmp_path / "nothing"))
