"""What metrics with weights of other people's have in common: errors that help, an identity, and a precision."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from steer_env.devices import resolve_dtype
from steer_env.registry import AUTO

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class CheckpointError(RuntimeError):
    """Weights that can't be had or can't be used; the message says what to do."""


def reason(error: Exception) -> str:
    """Another package's message, fit to stand within a sentence: one line of at most 300 characters."""
    found = " ".join(str(error).split()).rstrip(".!")
    return found if len(found) <= 300 else f"{found[:299]}…"


def checkpoint_folder(path: str, patterns: Sequence[str], advice: str) -> Path:
    """The local folder itself, or a hub's files in its cache.

    Args:
        path: a folder or a hub id.
        patterns: of the files that a hub is asked for.
        advice: what to do if there is nothing; ends the error's message.

    Raises:
        CheckpointError: no folder, and nothing that a hub has or that can be reached.
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


def check_precision(dtype: str, max_batch: int) -> torch.dtype:
    """The dtype of that name; ``auto`` is float32.

    Raises:
        ValueError: an unknown dtype, or max_batch below 1.
    """
    if max_batch < 1:
        raise ValueError(f"max_batch must be at least 1, got {max_batch}")
    return resolve_dtype(dtype)


def precision_suffix(dtype: str) -> str:
    """What a metric's id ends in: embeddings of another precision are other numbers."""
    return "" if dtype in ("float32", AUTO) else f"-{dtype}"


def check_torch_file(path: Path, advice: str) -> None:
    """Read what ``torch.save`` wrote, without running anything that a pickle may hold, and drop it again.

    Args:
        path: the file.
        advice: what to do about it if it's no good; ends the error's message.

    Raises:
        CheckpointError: truncated or damaged, or with objects other than tensors and plain containers.
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
    """Every ``torch.load``, other packages' too, refuses pickles that could run code, whatever its arguments say."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before
