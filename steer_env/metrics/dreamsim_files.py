"""Which files each type of DreamSim reads, and how they come into its cache folder."""

from __future__ import annotations

import io
import zipfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from steer_env.metrics.checkpoints import CheckpointError, check_torch_file, reason
from steer_env.registry import Registry


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


def provide(type: str, folder: Path, download: bool) -> str:
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
