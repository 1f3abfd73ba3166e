"""Goal images and first images that were made before, by whichever run: tensors kept on disk, and what they depend on.

Each picture is made alone, since rounding depends on the batch, and its address holds whatever else rounding may depend
on, such as the device. So it makes no difference to the last digit whether a picture was in the bank, nor which run put
it there. Against pictures made in one batch, embeddings differ by the tolerance of batches, about 1e-6.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from steer_env.files import read_plain, write_atomically
from steer_env.fingerprints import fingerprint
from steer_env.types import Fingerprinted, Generator, Metric, Picture
from steer_env.versions import package_versions

_LOG = logging.getLogger(__name__)
LIMIT = 4 << 30
"""Bytes of a bank: half a million of DreamSim's embeddings, or some 5,000 images of 512 × 512."""
_OURS = re.compile(r"[0-9a-f]{64}\.safetensors(\.[0-9a-f]+\.partial)?")


class GoalBank:
    """Tensors in a folder, each under an address that says all that it depends on.

    Runs, processes and machines may share a folder. A file is read whole and written whole, and is sealed with a hash
    of its address and its content: one that is damaged, truncated or another's is reported, dropped, and counts as
    missing. A file that can't be written is reported once, and costs nothing but its making.

    Args:
        folder: made if it isn't there.
        limit: bytes of all files. Beyond it those go first that haven't been read or written for longest. A process
            looks whenever it has written a sixteenth of it, by which each that writes at the same time may exceed it.

    Raises:
        ValueError: a folder that can't be made or written to, or a limit below 1.
    """

    def __init__(self, folder: str | Path, limit: int = LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"the limit of a goal bank must be at least 1 byte, got {limit}")
        self.folder, self.limit = Path(folder).expanduser(), limit
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"goal_bank={folder} is no folder that can be made: {error.strerror}") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise ValueError(f"goal_bank={folder} is a folder that can't be written to; name another folder")
        # Others may have left it full.
        self._unseen, self._complained = limit, False

    def get(self, address: str) -> Tensor | None:
        """What was put there, on the CPU; None if there is nothing, or nothing good."""
        path = self._path(address)
        try:
            # Others may have put a link, a pipe or a device there.
            content = read_plain(path, self.limit)
        except (OSError, ValueError):
            return None
        value = _opened(content, address)
        with suppress(OSError):
            if value is None:
                _LOG.warning("%s is damaged, or isn't what its name says: dropped, to be made anew", path)
                path.unlink(missing_ok=True)
            else:
                os.utime(path)
        return value

    def put(self, address: str, value: Tensor) -> None:
        """Keep a tensor, in the place of what was there."""
        path, value = self._path(address), value.detach().cpu().contiguous()
        content = save({"value": value, "seal": _seal(address, value)}, metadata={"address": address})
        try:
            write_atomically(path, content)
        except OSError as error:
            if not self._complained:
                _LOG.warning("%s can't be written (%s): goals are made anew each time", path, error.strerror)
            self._complained = True
            return
        self._unseen += len(content)
        if self._unseen > self.limit // 16:
            self._unseen = 0
            self._make_room()

    def _path(self, address: str) -> Path:
        name = hashlib.sha256(address.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _make_room(self) -> None:
        """Leave a sixteenth of the limit free."""
        files = []
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            # The folder may hold other things.
            if _OURS.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    files.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in files) - (self.limit - self.limit // 16)
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def _seal(address: str, value: Tensor) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(fingerprint({address: value})), dtype=torch.uint8)


def _opened(content: bytes, address: str) -> Tensor | None:
    try:
        held = load(content)
        value = held["value"]
        return value if torch.equal(held["seal"], _seal(address, value)) else None
    except Exception:
        # The ways in which a file can be damaged are many, and all have the same remedy.
        return None


Made = tuple[dict[str, Tensor], Tensor | None]
"""Embeddings by name of the metric (B, D), and images uint8 (B, 3, H, W) or None."""
Maker = Mapping[str | None, list[Any]]
"""By name of a metric, and under None for images: all that a picture depends on but its prompt and seed."""


def maker_of(generator: Generator, metrics: Mapping[str, Metric]) -> Maker:
    """What makes pictures here: versions, weights, settings, devices and number of threads."""
    assert isinstance(generator, Fingerprinted)
    device = generator.device
    images = [_VERSIONS, generator.fingerprint(), _device(device)]
    maker: dict[str | None, list[Any]] = {
        name: [*images, metric.id, metric.dimensions, _device(getattr(metric, "device", device))]
        for name, metric in metrics.items()
    }
    return {**maker, None: [*images, "image"]}


def addresses(pictures: Sequence[Picture], maker: Maker) -> list[dict[str | None, str]]:
    """Where a bank has each picture's embeddings, by name of the metric, and its image, under None."""
    return [{name: json.dumps([*parts, *picture]) for name, parts in maker.items()} for picture in pictures]


def through(
    bank: GoalBank, known: Sequence[Mapping[str | None, str]], alone: Callable[[Tensor], Made], device: Any
) -> Made:
    """Pictures from a bank; those that it lacks are made and put there.

    Args:
        bank: keeps them.
        known: B addresses by name, from :func:`addresses`.
        alone: makes each of those in given places, int64 (n,), in a batch of its own.
        device: of the embeddings.
    """
    pictures = [{name: bank.get(address) for name, address in row.items()} for row in known]
    lacking = [i for i, row in enumerate(pictures) if any(value is None for value in row.values())]
    embeddings, images = alone(torch.tensor(lacking, dtype=torch.int64, device=device))
    made: dict[str | None, Tensor] = dict(embeddings.items())
    if images is not None:
        made[None] = images
    for place, i in enumerate(lacking):
        for name, values in made.items():
            if pictures[i][name] is None:
                bank.put(known[i][name], values[place])
            pictures[i][name] = values[place]
    columns = {name: [value for row in pictures if (value := row[name]) is not None] for name in made}
    joined = {name: torch.stack([value.to(device) for value in columns[name]]) for name in embeddings}
    return joined, None if images is None else torch.stack(columns[None])


def _device(device: Any) -> str:
    """The kind of device, and what else rounding depends on there."""
    device = torch.device(device)
    if device.type == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


_VERSIONS = list(package_versions("torch", "diffusers", "transformers").items())
