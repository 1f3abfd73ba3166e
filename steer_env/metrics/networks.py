"""Networks of transformers that embed images: their checkpoints, and how they prepare images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from steer_env.compatibility import mend_torchvision, quiet, reason
from steer_env.fingerprints import fingerprint
from steer_env.metrics.checkpoints import CheckpointError, NetworkMetric, checkpoint_folder, resize
from steer_env.metrics.options import CLIPOptions, DINOOptions

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
"""What a checkpoint holds, as transformers saves it."""


@dataclass(frozen=True)
class Preprocessing:
    """A checkpoint's image processor, on the device: resize the shorter side, crop the middle, normalise channels.

    Args:
        shortest_edge: pixels that the shorter side is resized to; 0 for a picture that is squashed to ``crop``.
        crop: height and width of what is left.
        mean, std: of each channel.
        mode: how it is resized, bicubic or bilinear.
    """

    shortest_edge: int
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str = "bicubic"

    def __call__(self, images: Tensor) -> Tensor:
        """Images float (B, 3, H, W) in [0, 1] → float (B, 3, *crop)."""
        height, width = images.shape[2:]
        shorter = min(height, width)
        edge = self.shortest_edge
        size = (edge * height // shorter, edge * width // shorter) if edge else self.crop
        top, left = ((whole - part) // 2 for whole, part in zip(size, self.crop, strict=True))
        cropped = resize(images, size, self.mode)[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (cropped - mean) / std

    def tensors(self) -> dict[str, Tensor]:
        """All that it does, for a fingerprint."""
        sizes = torch.tensor([self.shortest_edge, *self.crop])
        mode = {} if self.mode == "bicubic" else {self.mode: torch.ones(1)}
        return {**mode, "sizes": sizes, "mean": torch.tensor(self.mean), "std": torch.tensor(self.std)}


class TransformersMetric(NetworkMetric):
    """Cosine of a network's embeddings, by a checkpoint of transformers; a subclass knows its family's formats."""

    family: ClassVar[str]
    output: ClassVar[str]
    """Which of the network's outputs is the embedding."""

    def __init__(self, options: CLIPOptions | DINOOptions) -> None:
        super().__init__(options)
        self._folder = network_folder(options.path, self.family)
        mend_torchvision()
        with quiet():
            model = load_network(self._kind(), self._folder, self.family)
            self.prepare = self._preprocessing(model)
        weights = fingerprint(model.state_dict() | self.prepare.tensors())[:8]
        self.id = f"{self.family.lower()}-{weights}{self._suffix}"
        self._model = model.eval().to(self.device)
        # CLIP's configuration says it; DINO's kinds have other names for it, so a blank image is embedded.
        said = getattr(model.config, "projection_dim", None)
        self.dimensions: int = said or self.embed(torch.zeros(1, 3, *self.prepare.crop)).shape[1]

    def _kind(self) -> Any:
        """The class of transformers that reads the checkpoint."""
        raise NotImplementedError

    def _preprocessing(self, model: Any) -> Preprocessing:
        """What the checkpoint says; a CheckpointError if that isn't the family's."""
        raise NotImplementedError

    def _embed(self, images: Tensor) -> Tensor:
        with self._autocast():
            features = self._model(pixel_values=self.prepare(images))[self.output]
        return nn.functional.normalize(features.float(), dim=1)


def advice(family: str) -> str:
    """What a checkpoint is, for errors."""
    return f"A {family} checkpoint as transformers' save_pretrained writes it holds {', '.join(FILES)}"


def network_folder(path: str, family: str) -> Path:
    """The folder of a checkpoint, local or from a hub, with all of :data:`FILES`; else a CheckpointError."""
    local = checkpoint_folder(path, ["*.json", "*.safetensors", "*.txt"], advice(family))
    if missing := [name for name in FILES if not (local / name).is_file()]:
        pickled = sorted(file.name for file in local.glob("*.bin"))
        pickle = f"{', '.join(pickled)} is pickled and isn't loaded: save it anew by save_pretrained"
        raise CheckpointError(
            f"{local} lacks {', '.join(missing)}{f' ({pickle})' if pickled else ''}. {advice(family)}"
        )
    return local


def load_network(kind: Any, folder: Path, family: str) -> Any:
    """What a class of transformers reads from a checkpoint; a CheckpointError for a damaged one or another family's."""
    from safetensors import SafetensorError

    try:
        safely = {"use_safetensors": True, "trust_remote_code": False}
        watched = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, report = kind.from_pretrained(folder, dtype=torch.float32, **safely, **watched)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        message = f"{folder} is damaged, or of another architecture: {reason(error)}. {advice(family)}"
        raise CheckpointError(message) from error
    # transformers would go on with random weights in the place of both.
    if unfit := [*sorted(report["missing_keys"]), *sorted(str(entry[0]) for entry in report["mismatched_keys"])]:
        raise CheckpointError(
            f"{folder} isn't {family} of the architecture that its config.json describes: {unfit[0]} and "
            f"{len(unfit) - 1} other weights are missing or of another shape. {advice(family)}"
        )
    return model
