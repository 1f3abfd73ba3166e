"""DreamSim, through the package of its authors."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from steer_env.compatibility import mend_torchvision, reason
from steer_env.fingerprints import fingerprint
from steer_env.metrics.checkpoints import CheckpointError, NetworkMetric, check_torch_file, resize, tensors_only
from steer_env.metrics.options import DreamSimOptions
from steer_env.registry import Registry

_PIXELS = (224, 224)


@dataclass(frozen=True)
class DreamSimFiles:
    """What one type of DreamSim reads.

    Args:
        backbone: names of the files with pretrained weights.
        adapter: name of the folder with the weights that DreamSim trained.
        hub: the repository whose code ``torch.hub`` runs, from a branch that moves; empty where there is none.
    """

    backbone: tuple[str, ...]
    adapter: str
    hub: str = ""

    def missing(self, folder: Path) -> list[str]:
        """Names of the files that the cache folder lacks."""
        adapter = folder / self.adapter
        missing = [name for name in self.backbone if not (folder / name).is_file()]
        if not (adapter / "adapter_config.json").is_file():
            missing.append(f"{self.adapter}/adapter_config.json")
        if not any((adapter / f"adapter_model.{ending}").is_file() for ending in ("safetensors", "bin")):
            missing.append(f"{self.adapter}/adapter_model.safetensors")
        return missing


_DINO, _DINOV2 = "facebookresearch/dino", "facebookresearch/dinov2"
TYPES = Registry(
    "DreamSim type",
    {
        "ensemble": DreamSimFiles(
            ("dino_vitb16_pretrain.pth", "clip_vitb16_pretrain.pth.tar", "open_clip_vitb16_pretrain.pth.tar"),
            "ensemble_lora",
            _DINO,
        ),
        "dino_vitb16": DreamSimFiles(("dino_vitb16_pretrain.pth",), "dino_vitb16_single_lora", _DINO),
        "dino_vitb16_patch": DreamSimFiles(("dino_vitb16_pretrain.pth",), "dino_vitb16_patch_lora", _DINO),
        "dinov2_vitb14": DreamSimFiles(("dinov2_vitb14_pretrain.pth",), "dinov2_vitb14_single_lora", _DINOV2),
        "dinov2_vitb14_patch": DreamSimFiles(("dinov2_vitb14_pretrain.pth",), "dinov2_vitb14_patch_lora", _DINOV2),
        "clip_vitb32": DreamSimFiles(("clip_vitb32_pretrain.pth.tar",), "clip_vitb32_single_lora"),
        "open_clip_vitb32": DreamSimFiles(("open_clip_vitb32_pretrain.pth.tar",), "open_clip_vitb32_single_lora"),
        "synclr_vitb16": DreamSimFiles(("synclr_vit_b_16.pth",), "synclr_vitb16_single_lora"),
    },
)


class DreamSimMetric(NetworkMetric):
    """1 − DreamSim's distance, as the dot product of unit vectors (paper, B.1).

    Embeddings are the package's own, normalised by itself; the ``_patch`` types' patches are averaged as its distance
    does. Pictures of any size are squashed to 224 × 224, as the package does with Pillow.

    The backbone's files are read beforehand with everything but tensors and plain containers refused, and so is
    whatever ``torch.load`` reads while the package makes the model.

    Args:
        type, cache_dir, **options: see :class:`steer_env.metrics.options.DreamSimOptions`.

    Raises:
        ImportError: the package isn't installed.
        ValueError: an unknown type, one that needs ``trust_hub_code``, or see :class:`NetworkMetric`.
        CheckpointError: weights that are missing, can't be fetched, are damaged, pickled, or of another architecture.
    """

    def __init__(self, type: str = DreamSimOptions.type, cache_dir: str | None = None, **options: Any) -> None:
        chosen = DreamSimOptions(type=type, cache_dir=cache_dir, **options)
        hub = TYPES[type].hub
        super().__init__(chosen)
        if hub and not chosen.trust_hub_code:
            raise ValueError(
                f"type {type!r} runs code that torch.hub fetches from a moving branch of {hub}: accept that with "
                "trust_hub_code=true, or take a type that runs none, such as open_clip_vitb32"
            )
        folder = Path(cache_dir).expanduser() if cache_dir else Path(torch.hub.get_dir()) / "dreamsim"
        self._model = _load(type, folder, str(self.device), chosen.download)
        self.dimensions: int = self._model.embed_size * (2 if self._model.is_patch else 1)
        self.id = f"dreamsim-{type}-{fingerprint(_weights(self._model))[:8]}{self._suffix}"

    def to(self, device: str) -> DreamSimMetric:
        super().to(device)
        # The package's modules remember the device that they were made on.
        for module in self._model.modules():
            for part in (module, *getattr(module, "extractor_list", ())):
                if hasattr(part, "device"):
                    part.device = device
        return self

    def _embed(self, images: Tensor) -> Tensor:
        with self._autocast():
            features = self._model.embed(resize(images, _PIXELS)).float()
        if self._model.is_patch:
            features = torch.cat([features[:, 0], features[:, 1:].mean(dim=1)], dim=1)
        return nn.functional.normalize(features, dim=1)


def _load(type: str, folder: Path, device: str, download: bool) -> Any:
    mend_torchvision()
    try:
        from dreamsim import dreamsim
    except ImportError as error:
        advice = "metric=dreamsim needs a package that isn't here: pip install 'steer-env[dreamsim]'"
        raise ImportError(advice) from error
    files, advice = TYPES[type], _provide(type, folder, download)
    try:
        with _undisturbed(), tensors_only():
            kind = {"dreamsim_type": type.removesuffix("_patch"), "use_patch_model": type.endswith("_patch")}
            model, _ = dreamsim(device=device, cache_dir=str(folder), **kind)
    except Exception as error:
        if isinstance(error, URLError) or "no internet connection" in str(error):
            place = folder / f"{files.hub.replace('/', '_')}_main"
            advice = (
                f"Without a network, put a copy of github.com/{files.hub} into {place}, and the weights that its "
                f"hubconf.py names into {folder / 'checkpoints'}"
            )
        raise CheckpointError(
            f"DreamSim's type {type!r} can't be made of what lies in {folder}, which may be of another type or "
            f"architecture: {reason(error)}. {advice}"
        ) from error
    adapted = [value for name, value in model.named_parameters() if "lora_B" in name]
    if not adapted or not all(bool(value.any()) for value in adapted):
        # The package only warns, and would go on with the backbone alone.
        raise CheckpointError(f"{folder / files.adapter} doesn't fit type {type!r}: layers lack its weights. {advice}")
    return model


def _provide(type: str, folder: Path, download: bool) -> str:
    """See that a type's files are in the folder, and that its backbone's hold nothing that runs when loaded.

    Returns:
        Advice for the error if they turn out to be no good nevertheless.

    Raises:
        CheckpointError: files that are missing, can't be fetched, are damaged, or hold more than tensors.
    """
    from dreamsim.config import dreamsim_weights

    files, url = TYPES[type], dreamsim_weights[type]
    if download and files.missing(folder):
        _fetch(type, folder, url)
    if missing := files.missing(folder):
        raise CheckpointError(
            f"DreamSim's type {type!r} needs {', '.join(missing)} in {folder}: unpack {url} there, or have it fetched "
            "with download=true"
        )
    advice = f"Remove it, and unpack {url} into {folder} again"
    for name in files.backbone:
        check_torch_file(folder / name, advice)
    return advice


def _fetch(type: str, folder: Path, url: str) -> None:
    from dreamsim.model import download_weights

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stdout(io.StringIO()):
            download_weights(str(folder), type)
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{url} can't be fetched: {reason(error)}. Download it where it can be, and unpack it into {folder}"
        ) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The package prints, warns of its own making, and moves torch.hub's folder for the whole process."""
    hub = torch.hub.get_dir()
    try:
        with redirect_stdout(io.StringIO()), catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        torch.hub.set_dir(hub)


def _weights(model: Any) -> dict[str, Tensor]:
    """All of them: CLIP's projections are no parameters of the package's model."""
    weights: dict[str, Tensor] = dict(model.state_dict())
    for i, extractor in enumerate(model.extractor_list):
        if isinstance(getattr(extractor, "proj", None), Tensor):
            weights[f"projection.{i}"] = extractor.proj
    return weights
