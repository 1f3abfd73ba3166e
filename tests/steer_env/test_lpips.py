"""LPIPS's real package and its own heads on a random AlexNet in torchvision's format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

import steer_env  # noqa: F401  (registers the environments)
from steer_env.metrics import load_metric
from steer_env.metrics.checkpoints import CheckpointError
from steer_env.metrics.lpips import LPIPSMetric
from steer_env.testing import check_metric
from tests.steer_env.checkpoints import Trap, check_travels, pictures

pytest.importorskip("lpips", reason="needs steer-env[lpips]")
SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Of AlexNet's convolutions: channels out and in, pixels a side."""


def alexnet(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under torchvision's names, of a size that keeps activations alive."""
    rng, weights = torch.Generator().manual_seed(seed), {}
    for layer, (out, into, side) in SHAPES.items():
        scale = (2 / (into * side * side)) ** 0.5
        weights[f"features.{layer}.weight"] = torch.randn(out, into, side, side, generator=rng) * scale
        weights[f"features.{layer}.bias"] = torch.randn(out, generator=rng) * 0.1
    return weights | {"classifier.1.weight": torch.zeros(2, 2)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("lpips") / "alexnet.pth"
    torch.save(alexnet(), file)
    return file


@pytest.fixture(scope="module")
def lpips_metric(path: Path) -> LPIPSMetric:
    return LPIPSMetric(str(path))


@torch.inference_mode()
def distances(images: Tensor, seed: int = 0) -> Tensor:
    """The package's own, of all pairs."""
    from lpips import LPIPS

    with pytest.warns(UserWarning, match="deprecated"):
        model = LPIPS(net="alex", pnet_rand=True, verbose=False)
    slices = [layer for part in model.net.children() for layer in part.named_children()]
    for name, layer in slices:
        if int(name) in SHAPES:
            layer.weight.data = alexnet(seed)[f"features.{name}.weight"]
            layer.bias.data = alexnet(seed)[f"features.{name}.bias"]
    pairs = [(a, b) for a in images for b in images]
    first, second = (torch.stack(part) for part in zip(*pairs, strict=True))
    return model(first, second, normalize=True).view(len(images), len(images))


@pytest.mark.parametrize("pixels", [64, 80])
def test_it_is_one_minus_the_distance_of_the_package(path: Path, pixels: int) -> None:
    images = pictures(4, pixels)
    metric = load_metric("lpips", path=str(path), pixels=pixels)
    embeddings = metric.embed(images)
    expected = distances(images)
    assert expected.max() > 0.1
    torch.testing.assert_close(1 - metric.similarity(embeddings[:, None], embeddings), expected, atol=1e-6, rtol=1e-5)


def test_conformance(lpips_metric: LPIPSMetric) -> None:
    check_metric(lpips_metric, pictures(4, 48))


def test_the_size_of_an_embedding_is_that_of_its_pixels_not_of_the_pictures(lpips_metric: LPIPSMetric) -> None:
    assert lpips_metric.dimensions == 31_872
    for size in (32, 100):
        embeddings = lpips_metric.embed(pictures(2, size))
        assert embeddings.shape == (2, 31_872)
        assert embeddings.abs().max() <= 1


def test_it_travels(lpips_metric: LPIPSMetric) -> None:
    check_travels(lpips_metric)


def test_another_precision_gives_nearly_the_same_under_another_id(path: Path, lpips_metric: LPIPSMetric) -> None:
    halved, images = LPIPSMetric(str(path), dtype="bfloat16", max_batch=2), pictures(3, 64)
    assert halved.id == f"{lpips_metric.id}-bfloat16"
    one, other = (metric.embed(images) for metric in (halved, lpips_metric))
    assert one.dtype == torch.float32
    torch.testing.assert_close(
        halved.similarity(one[:2], one[1:]), halved.similarity(other[:2], other[1:]), atol=2e-3, rtol=0
    )


def test_the_id_changes_with_weights_and_pixels(path: Path, lpips_metric: LPIPSMetric, tmp_path: Path) -> None:
    torch.save(alexnet(seed=1), tmp_path / "other.pth")
    others = [LPIPSMetric(str(tmp_path / "other.pth")), LPIPSMetric(str(path), pixels=80)]
    assert len({lpips_metric.id, *(other.id for other in others)}) == 3
    assert LPIPSMetric(str(path)).id == lpips_metric.id


def test_loading_draws_nothing_from_torchs_own_stream(path: Path) -> None:
    before = torch.get_rng_state()
    LPIPSMetric(str(path))
    assert torch.equal(torch.get_rng_state(), before)


def test_users_choose_by_its_similarity(path: Path, lpips_metric: LPIPSMetric) -> None:
    """And mechanisms, and judges, compare by it too."""
    options: dict[str, Any] = {"metric": {"name": "lpips", "path": str(path)}, "observe": ["embedding"], "named": True}
    bayesian = {"mechanism": "bayesian:pool=3"}
    env = gym.make("steer_env/ImageSteering-v0", render_mode="rgb_array", **options, **bayesian)
    observation, info = env.reset(seed=0)
    assert observation["embedding"] in env.observation_space["embedding"]  # type: ignore[index]
    info = env.step(7)[-1]
    dynamics = env.unwrapped.dynamics  # type: ignore[attr-defined]
    shown = env.unwrapped._batch.last_outcome.shown[0]  # type: ignore[attr-defined]
    images = torch.from_numpy(np.concatenate([dynamics.goal_images, shown])).float() / 255
    goal, *offered = lpips_metric.embed(images)
    expected = [1 - float((goal - each).square().sum()) for each in offered]
    np.testing.assert_allclose(info["similarities"], expected, atol=0.02)
    assert info["choice"] == int(np.argmax(info["similarities"]))


def test_it_judges(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where torch.hub would have put the weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(path.parent))
    (path.parent / "checkpoints").mkdir()
    (path.parent / "checkpoints" / "alexnet-owt-7be5be79.pth").write_bytes(path.read_bytes())
    env = gym.make("steer_env/ImageSteering-v0", judges=["lpips"])
    assert 0 < env.reset(seed=0)[1]["similarity/lpips"] < 1


def test_weights_that_are_not_there_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        CheckpointError, match=r"alexnet-owt-7be5be79\.pth isn't there\. Download https://\S+, and name it"
    ):
        LPIPSMetric()
    assert not list(tmp_path.iterdir())


def test_a_truncated_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="is truncated or damaged"):
        LPIPSMetric(str(tmp_path / "cut.pth"))


def test_pickled_weights_are_refused_unread(tmp_path: Path) -> None:
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "trap.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        LPIPSMetric(str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content", [{"features.0.weight": torch.zeros(1)}, [1.0], alexnet() | {"features.3.bias": torch.zeros(2)}]
)
def test_weights_of_another_architecture(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="doesn't hold AlexNet's weights under torchvision's names"):
        LPIPSMetric(str(tmp_path / "other.pth"))


@pytest.mark.parametrize("options", [{"pixels": 30}, {"dtype": "float8"}, {"max_batch": 0}])
def test_bad_options(options: dict[str, Any], path: Path) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        LPIPSMetric(str(path), **options)


def test_without_the_package_the_error_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ImportError, match=r"steer-env\[lpips\]"):
        LPIPSMetric(str(path))
