"""DreamSim's real package on random weights in its own format."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from torch import Tensor

import steer_env  # noqa: F401  (registers the environments)
from steer_env.metrics import load_metric
from steer_env.metrics.checkpoints import CheckpointError
from steer_env.metrics.dreamsim import DreamSimMetric
from steer_env.testing import check_metric
from tests.steer_env.checkpoints import Trap, check_travels, dreamsim_folder, pictures, pil, save_adapter, save_backbone

pytestmark = pytest.mark.skipif(not find_spec("dreamsim"), reason="needs steer-env[dreamsim]")
TYPE = "clip_vitb32"
DISTINCT = ("clip_vitb32", "open_clip_vitb32", "synclr_vitb16", "dino_vitb16_patch", "ensemble")
"""Each way of making a type once. DINOv2's aren't among them: their architecture comes from a repository alone."""
BACKBONE, ADAPTER = f"{TYPE}_pretrain.pth.tar", f"{TYPE}_single_lora"


def package(folder: Path, type: str) -> tuple[Any, Any]:
    """Model and preprocessing, as DreamSim's own documentation makes them."""
    from dreamsim import dreamsim

    hub = torch.hub.get_dir()
    name, patched = type.removesuffix("_patch"), type.endswith("_patch")
    try:
        made = dreamsim(device="cpu", cache_dir=str(folder), dreamsim_type=name, use_patch_model=patched)
    finally:
        torch.hub.set_dir(hub)
    return made


def distance(embeddings: Tensor) -> Tensor:
    """Of the first and the second half, pair by pair."""
    first, second = embeddings.chunk(2)
    return 1 - (first * second).sum(dim=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dreamsim_folder(tmp_path_factory.mktemp("dreamsim"), TYPE)


@pytest.fixture(scope="module")
def dreamsim_metric(folder: Path) -> DreamSimMetric:
    return DreamSimMetric(TYPE, str(folder))


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy of the cache folder, to be spoilt."""
    return Path(shutil.copytree(folder, tmp_path / "cache"))


def test_conformance(dreamsim_metric: DreamSimMetric) -> None:
    check_metric(dreamsim_metric, pictures(3, 48))


def test_it_travels(dreamsim_metric: DreamSimMetric, monkeypatch: pytest.MonkeyPatch) -> None:
    # It asks for a number, which the device that checks this by doesn't have.
    monkeypatch.setattr("torchvision.transforms.functional.normalize", lambda images, *_: images)
    check_travels(dreamsim_metric)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`", "ignore:.*weight_norm")
@pytest.mark.parametrize("type", DISTINCT)
def test_cached_embeddings_give_the_distance_of_the_package(type: str, tmp_path: Path) -> None:
    folder = dreamsim_folder(tmp_path, type)
    images = pictures(2, 224)
    embeddings = load_metric("dreamsim", type=type, cache_dir=str(folder), trust_hub_code=True).embed(images)
    model, _ = package(folder, type)
    expected = model(*images.split(1))
    assert float(expected) > 1e-3
    torch.testing.assert_close(distance(embeddings), expected, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("size", [48, 512])
def test_preprocessing_on_the_device_is_that_of_the_package(
    size: int, folder: Path, dreamsim_metric: DreamSimMetric
) -> None:
    images = pictures(4, size)
    model, preprocess = package(folder, TYPE)
    expected = model(*torch.cat([preprocess(pil(image)) for image in images]).chunk(2))
    torch.testing.assert_close(distance(dreamsim_metric.embed(images)), expected, atol=2e-5, rtol=0)


def test_it_splits_a_batch_that_is_too_large(folder: Path, dreamsim_metric: DreamSimMetric) -> None:
    images = pictures(3, 224)
    split = DreamSimMetric(TYPE, str(folder), max_batch=2).embed(images)
    torch.testing.assert_close(split, dreamsim_metric.embed(images))


def test_another_precision_gives_nearly_the_same_under_another_id(
    folder: Path, dreamsim_metric: DreamSimMetric
) -> None:
    halved = DreamSimMetric(TYPE, str(folder), dtype="bfloat16")
    assert halved.id == f"{dreamsim_metric.id}-bfloat16"
    images = pictures(4, 224)
    embeddings = halved.embed(images)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(distance(embeddings), distance(dreamsim_metric.embed(images)), atol=2e-3, rtol=0)


def test_the_id_changes_with_the_weights(damaged: Path, dreamsim_metric: DreamSimMetric) -> None:
    assert dreamsim_metric.id.startswith(f"dreamsim-{TYPE}-")
    assert DreamSimMetric(TYPE, str(damaged)).id == dreamsim_metric.id
    save_adapter(damaged / ADAPTER, seed=1)
    assert DreamSimMetric(TYPE, str(damaged)).id != dreamsim_metric.id


def test_loading_leaves_no_trace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = torch.hub.get_dir()
    DreamSimMetric(TYPE, str(folder))
    assert torch.hub.get_dir() == hub
    assert capsys.readouterr().out == ""


def test_an_environment_measures_by_it(folder: Path, dreamsim_metric: DreamSimMetric) -> None:
    options = {"type": TYPE, "cache_dir": str(folder)}
    env = gym.make(
        "steer_env/ImageSteering-v0", metric={"name": "dreamsim", **options}, observe=["embedding"], named=True
    )
    observation, info = env.reset(seed=0)
    assert observation["embedding"].shape == (dreamsim_metric.dimensions,)
    assert 0.5 < info["similarity"] < 1
    env.step(5)


def test_a_bad_checkpoint_is_found_before_the_first_episode(tmp_path: Path) -> None:
    options = {"type": TYPE, "cache_dir": str(tmp_path)}
    with pytest.raises(CheckpointError, match="unpack"):
        gym.make("steer_env/ImageSteering-v0", metric={"name": "dreamsim", **options})


@pytest.mark.parametrize("name", [BACKBONE, f"{ADAPTER}/adapter_config.json", f"{ADAPTER}/adapter_model.safetensors"])
def test_a_missing_file_is_named_with_where_it_comes_from(name: str, damaged: Path) -> None:
    (damaged / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} in .*cache: unpack https://\S+\.zip there"):
        DreamSimMetric(TYPE, str(damaged))


@pytest.mark.parametrize("name", [BACKBONE, f"{ADAPTER}/adapter_model.safetensors", f"{ADAPTER}/adapter_config.json"])
def test_a_truncated_file(name: str, damaged: Path) -> None:
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="unpack https"):
        DreamSimMetric(TYPE, str(damaged))


def test_weights_of_another_architecture(damaged: Path) -> None:
    save_backbone(damaged, "clip_vitb16")
    (damaged / "clip_vitb16_pretrain.pth.tar").replace(damaged / BACKBONE)
    with pytest.raises(CheckpointError, match="another type or architecture"):
        DreamSimMetric(TYPE, str(damaged))


def test_an_adapter_whose_weights_have_other_names(damaged: Path) -> None:
    """The package alone only warns."""
    save_adapter(damaged / ADAPTER, prefix="other.")
    with pytest.raises(CheckpointError, match=f"{ADAPTER} doesn't fit"):
        DreamSimMetric(TYPE, str(damaged))


def test_pickled_weights_are_refused_unread(damaged: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": Trap(tmp_path / "sprung")}, damaged / BACKBONE)
    with pytest.raises(CheckpointError, match="could run code"):
        DreamSimMetric(TYPE, str(damaged))
    assert not (tmp_path / "sprung").exists()


def test_pickled_weights_are_refused_where_torch_hub_reads_them(tmp_path: Path) -> None:
    folder = dreamsim_folder(tmp_path / "cache", "dino_vitb16")
    torch.save(Trap(tmp_path / "sprung"), folder / "checkpoints" / "dino_vitbase16_pretrain.pth")
    with pytest.raises(CheckpointError, match="can't be made of"):
        DreamSimMetric("dino_vitb16", str(folder), trust_hub_code=True)
    assert not (tmp_path / "sprung").exists()


def test_a_repository_that_torch_hub_cannot_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dreamsim_folder(tmp_path, "dino_vitb16")
    shutil.rmtree(folder / "facebookresearch_dino_main")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"copy of github\.com/facebookresearch/dino into .*_main"):
        DreamSimMetric("dino_vitb16", str(folder), trust_hub_code=True)


def test_code_from_a_hub_needs_consent() -> None:
    with pytest.raises(ValueError, match="trust_hub_code"):
        load_metric("dreamsim")


@pytest.mark.parametrize("options", [{"type": "clip_vitb16"}, {"dtype": "float8"}, {"max_batch": 0}])
def test_bad_options(options: dict[str, Any], folder: Path) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        DreamSimMetric(**{"type": TYPE, "cache_dir": str(folder), **options})


def test_weights_can_be_fetched(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the package's own download, from a file in place of a web address."""
    archive = shutil.make_archive(str(tmp_path / "weights"), "zip", folder)
    monkeypatch.setitem(import_module("dreamsim.config").dreamsim_weights, TYPE, Path(archive).as_uri())
    DreamSimMetric(TYPE, str(tmp_path / "new" / "cache"), download=True)


def test_weights_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable = "http://127.0.0.1:9/weights.zip"
    monkeypatch.setitem(import_module("dreamsim.config").dreamsim_weights, TYPE, unreachable)
    with pytest.raises(CheckpointError, match=rf"{unreachable} can't be fetched: .* unpack it into {tmp_path}"):
        DreamSimMetric(TYPE, str(tmp_path), download=True)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(ImportError, match=r"steer-env\[dreamsim\]"):
        DreamSimMetric(TYPE)
