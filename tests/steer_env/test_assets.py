import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors import safe_open

from steer_env import assets
from steer_env.assets import AssetError
from steer_env.tiles import tilings
from steer_env.tiles.renderer import render

MADE_BY = {
    "tiles-generator": "python -m experiments.pretrain",
    "tiles-metric": "python -m experiments.pretrain",
    "tiles-predictor": "python -m experiments.predictor",
}
FOLDERS = tuple(MADE_BY)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(assets.ROOT / "tiles-metric", tmp_path / "tiles-metric"))


@pytest.mark.parametrize("name", FOLDERS)
def test_shipped_files_are_those_of_the_manifest(name: str) -> None:
    folder = assets.verified(assets.ROOT / name)
    listed = set(json.loads((folder / "manifest.json").read_text()))
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present == listed | {"manifest.json"}
    assert len(assets.version(folder)) == 8


def test_all_assets_together_are_small() -> None:
    assert sum(path.stat().st_size for path in assets.ROOT.rglob("*") if path.is_file()) < 25 * 10**6


def test_weights_are_half_precision_safetensors() -> None:
    files = [path for name in FOLDERS for path in (assets.ROOT / name).rglob("*.safetensors")]
    assert len(files) == 5
    for path in files:
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}, path


@pytest.mark.parametrize("name", FOLDERS)
def test_cards_say_how_the_weights_were_made(name: str) -> None:
    card = (assets.ROOT / name / "README.md").read_text()
    for word in (MADE_BY[name], "seed", "steps of", "Licence: Apache-2.0"):
        assert word in card
    assert ("DreamSim" in card) == (name == "tiles-metric")
    if name == "tiles-metric":
        assert "isn't DreamSim" in card


def test_latents_of_tilings_are_normalised_so_that_noise_of_unit_variance_covers_them() -> None:
    vae = AutoencoderTiny.from_pretrained(assets.ROOT / "tiles-generator" / "vae")
    rng = np.random.default_rng(0)
    with torch.no_grad():
        latents = vae.encode(render(tilings.sample_factors(256, rng), 48, rng) * 2 - 1).latents
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.15
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.15


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(AssetError, match=r"model.safetensors is missing; reinstall steer_env"):
        assets.verified(copy)


def test_a_damaged_file_is_named(copy: Path) -> None:
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(AssetError, match=r"model.safetensors is damaged"):
        assets.verified(copy)


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"manifest.json is missing"):
        assets.verified(tmp_path)


def test_what_is_verified_is_what_is_there_now(copy: Path) -> None:
    """A folder that was good when it was read may be another by the next time."""
    assets.verified(copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(AssetError, match=r"config\.json is damaged"):
        assets.verified(copy)


@pytest.mark.parametrize(
    ("listed", "message"),
    [("{", "manifest.json is damaged"), ("[1]", "manifest.json is damaged"), ("{}", r"isn't listed in manifest\.json")],
)
def test_a_manifest_lists_all_files(listed: str, message: str, copy: Path) -> None:
    (copy / "manifest.json").write_text(listed)
    with pytest.raises(AssetError, match=message):
        assets.verified(copy)
