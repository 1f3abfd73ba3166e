"""Cosine of DINO's embeddings of whole images, through transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steer_env.compatibility import mend_torchvision, quiet
from steer_env.fingerprints import fingerprint
from steer_env.metrics.checkpoints import CheckpointError, NetworkMetric
from steer_env.metrics.networks import FILES, Preprocessing, load_network, network_folder
from steer_env.metrics.options import DINOOptions
from steer_env.registry import Registry

KINDS = Registry(
    "kind of DINO",
    {
        "dinov2": "Dinov2Model",
        "dinov2_with_registers": "Dinov2WithRegistersModel",
        "dinov3_vit": "DINOv3ViTModel",
        "dinov3_convnext": "DINOv3ConvNextModel",
    },
)
"""``model_type`` of a checkpoint → its class in transformers."""
_ADVICE = f"A DINO checkpoint as transformers' save_pretrained writes it holds {', '.join(FILES)}"
_MODES = {2: "bilinear", 3: "bicubic"}


class DINOMetric(NetworkMetric):
    """Cosine of DINOv2's or DINOv3's embeddings of whole images.

    Args:
        path, **options: see :class:`steer_env.metrics.options.DINOOptions`.

    Raises:
        ValueError: see :class:`NetworkMetric`.
        CheckpointError: a hub that can't be reached, or a checkpoint that is missing, damaged, pickled, or no DINO.
    """

    def __init__(self, path: str = DINOOptions.path, **options: Any) -> None:
        super().__init__(DINOOptions(path=path, **options))
        folder = network_folder(path, _ADVICE)
        self.prepare = _preprocessing(folder / FILES[1])
        model = _load(folder)
        self.id = f"dino-{fingerprint(model.state_dict() | self.prepare.tensors())[:8]}{self._suffix}"
        self._model = model.eval().to(self.device)
        self.dimensions: int = self.embed(torch.zeros(1, 3, *self.prepare.crop)).shape[1]

    def _embed(self, images: Tensor) -> Tensor:
        with self._autocast():
            features = self._model(pixel_values=self.prepare(images)).pooler_output
        return nn.functional.normalize(features.float(), dim=1)


def _load(folder: Path) -> Any:
    kind = json.loads((folder / FILES[0]).read_text()).get("model_type")
    try:
        name = KINDS[str(kind)]
    except ValueError as error:
        raise CheckpointError(f"{folder} is no DINO: {error}. {_ADVICE}") from None
    mend_torchvision()
    with quiet():
        import transformers

        return load_network(getattr(transformers, name), folder, "DINO", _ADVICE)


def _preprocessing(path: Path) -> Preprocessing:
    """As the checkpoint's file says; DINOv2 crops the middle, DINOv3 squashes the whole."""
    try:
        config = json.loads(path.read_text())
        size, crop = config["size"], config.get("crop_size")
        squashed = "shortest_edge" not in size
        if not squashed and not (config.get("do_center_crop") and crop):
            raise KeyError("crop_size")
        target = size if squashed else crop
        return Preprocessing(
            0 if squashed else int(size["shortest_edge"]),
            (int(target["height"]), int(target["width"])),
            tuple(config["image_mean"]),
            tuple(config["image_std"]),
            _MODES[config["resample"]],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} isn't of DINO's kind: expected are bicubic or bilinear resizing, to a fixed size or to a shortest "
            f"edge and a central crop, and normalisation of values ({error!r})"
        ) from error
