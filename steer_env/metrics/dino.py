"""Cosine of DINO's embeddings of whole images, through transformers."""

from __future__ import annotations

import json
from typing import Any

from steer_env.metrics.checkpoints import CheckpointError
from steer_env.metrics.networks import FILES, Preprocessing, TransformersMetric, advice
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
_MODES = {2: "bilinear", 3: "bicubic"}


class DINOMetric(TransformersMetric):
    """Cosine of DINOv2's or DINOv3's embeddings of whole images.

    Args:
        path, **options: see :class:`steer_env.metrics.options.DINOOptions`.

    Raises:
        ValueError: see :class:`steer_env.metrics.checkpoints.NetworkMetric`.
        CheckpointError: a hub that can't be reached, or a checkpoint that is missing, damaged, pickled, or no DINO.
    """

    family, output = "DINO", "pooler_output"

    def __init__(self, path: str = DINOOptions.path, **options: Any) -> None:
        super().__init__(DINOOptions(path=path, **options))

    def _kind(self) -> Any:
        import transformers

        kind = json.loads((self._folder / FILES[0]).read_text()).get("model_type")
        try:
            return getattr(transformers, KINDS[str(kind)])
        except ValueError as error:
            raise CheckpointError(f"{self._folder} is no DINO: {error}. {advice(self.family)}") from None

    def _preprocessing(self, model: Any) -> Preprocessing:
        """As the checkpoint's file says; DINOv2 crops the middle, DINOv3 squashes the whole."""
        path = self._folder / FILES[1]
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
                f"{path} isn't of DINO's kind: expected are bicubic or bilinear resizing, to a fixed size or to a "
                f"shortest edge and a central crop, and normalisation of values ({error!r})"
            ) from error
