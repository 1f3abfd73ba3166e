"""What metrics with other people's weights share: reading them safely, and computing in parts that fit."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steer_env.compatibility import reason
from steer_env.devices import resolve_device, resolve_dtype
from steer_env.metrics.options import NetworkOptions
from steer_env.registry import AUTO
from steer_env.types import Metric

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class CheckpointError(OSError):
    """Weights that can't be had or can't be used; the message says what to do."""


def checkpoint_folder(path: str, patterns: Sequence[str], advice: str) -> Path:
    """The local folder itself, or a hub's files in its cache.

    Args:
        path: a folder or a hub id.
        patterns: files to fetch from a hub.
        advice: end of the error's message.

    Raises:
        CheckpointError: no such folder, and the hub doesn't have it or can't be reached.
    """
    from huggingface_hub import snapshot_download

    local = Path(path).expanduser()
    if local.is_dir():
        return local
    if local.is_absolute() or path.startswith((".", "~")):
        raise CheckpointError(f"{local} is no folder. {advice}")
    try:
        return Path(snapshot_download(path, allow_patterns=list(patterns)))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path!r} is no folder here, and can't be had from the hub: {reason(error)}. Put its files into a folder "
            f"by hand, and give that as its path. {advice}"
        ) from error


def check_torch_file(path: Path, advice: str) -> None:
    """Refuse a file of ``torch.save`` that is damaged, or holds more than tensors and plain containers.

    Raises:
        CheckpointError: its message ends with the advice.
    """
    try:
        # Only the new format, a zip archive, can be mapped instead of read.
        torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds pickled objects besides tensors, which could run code; not loaded. {advice}"
        ) from error
    except (RuntimeError, OSError, EOFError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or damaged. {advice}") from error


@contextmanager
def tensors_only() -> Iterator[None]:
    """Every ``torch.load``, also in other packages, refuses pickles that could run code, whatever its arguments say."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before


class NetworkMetric(Metric):
    """A metric by a network with a device, a precision, and a most number of images at a time.

    A subclass sets ``_model``, ``dimensions`` and ``id``, which ends in ``_suffix``, and embeds some images in
    :meth:`_embed`.

    Raises:
        ValueError: an unknown device or dtype.
    """

    _model: Any

    def __init__(self, options: NetworkOptions) -> None:
        self._dtype, self._max_batch = resolve_dtype(options.dtype), options.max_batch
        self.device = torch.device(resolve_device(options.device))
        # Embeddings of another precision are other numbers.
        self._suffix = "" if options.dtype in ("float32", AUTO) else f"-{options.dtype}"

    def to(self, device: str) -> NetworkMetric:
        """Move it; returns itself."""
        self.device = torch.device(device)
        self._model = self._model.to(self.device)
        return self

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        parts = [self._embed(part.to(self.device).float()) for part in images.split(self._max_batch)]
        return torch.cat(parts).to(images.device)

    def _embed(self, images: Tensor) -> Tensor:
        """Images float32 (b, 3, H, W) on the metric's device → (b, dimensions), float32."""
        raise NotImplementedError

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32)


def resize(images: Tensor, size: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """Pillow's resizing of the same pictures in eight bits; single values are off by 1/255 or 2/255.

    As Pillow does, it filters the width, then the height, and rounds and clips to eight bits after each. Filtering both
    at once would be off by up to 18/255 where bicubic overshoots.

    Args:
        images: float (B, C, H, W) in [0, 1].
        size: height and width wanted.
        mode: bicubic or bilinear.

    Returns:
        float (B, C, *size), in 256 steps of [0, 1]; the images as they are if they have that size.
    """
    for step in ((images.shape[2], size[1]), size):
        if step != tuple(images.shape[2:]):
            filtered = nn.functional.interpolate(images, step, mode=mode, antialias=True)
            images = (filtered * 255 + 0.5).floor().clamp(0, 255) / 255
    return images
