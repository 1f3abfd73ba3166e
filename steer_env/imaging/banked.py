"""Goal images and first images that were made before, by whichever run.

Each picture is made alone, since rounding depends on the batch, and its address holds whatever else rounding may depend
on, such as the device. So it makes no difference to the last digit whether a picture was in the bank, nor which run put
it there. Against pictures made in one batch, embeddings differ by the tolerance of batches, about 1e-6.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from steer_env.imaging.bank import GoalBank
from steer_env.types import Fingerprinted, Generator, Metric, Picture
from steer_env.versions import package_versions

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
