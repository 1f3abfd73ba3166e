"""Goal images and first images that were made before, by whichever run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from steer_env.goal_bank.files import GoalBank
from steer_env.types import Fingerprinted, Generator, Metric
from steer_env.versions import package_versions

Picture = tuple[str, int]
"""Prompt, and seed of the latent."""
Made = tuple[dict[str, Tensor], Tensor | None]
"""Embeddings by name of the metric (B, D), and images uint8 (B, 3, H, W) or None."""


class BankedPictures:
    """Pictures through a bank: what it has is read, what it lacks is made and put there.

    Each picture is made alone, since rounding depends on the batch, and its address holds whatever else rounding may
    depend on, such as the device. So it makes no difference to the last digit whether a picture was in the bank, nor
    which run put it there. Against pictures made in one batch, embeddings differ by the tolerance of batches, about
    1e-6.

    Args:
        bank: keeps them.
        generator: makes them; has a method ``fingerprint`` that tells all that its images depend on.
        metrics: embed them, by name; an ``id`` stands for all that embeddings depend on.
        keep_images: keep the images, too.

    Raises:
        ValueError: a generator without a fingerprint.
    """

    def __init__(
        self, bank: GoalBank, generator: Generator, metrics: Mapping[str, Metric], keep_images: bool = False
    ) -> None:
        if not isinstance(generator, Fingerprinted):
            raise ValueError(
                f"a goal bank must tell generators apart by all that their images depend on: give {generator.id!r} a "
                "method fingerprint() that returns it as a string, or use no goal_bank"
            )
        self._bank, self._fingerprint, self._generator = bank, generator.fingerprint, generator
        self._metrics, self._keep_images = metrics, keep_images

    def __call__(self, pictures: Sequence[Picture], make: Callable[[slice], Made]) -> Made:
        """Embeddings, and images if they are kept.

        Args:
            pictures: B of them.
            make: makes those of a slice of them.
        """
        common = self._common()
        rows = [self._one(common, picture, partial(make, slice(i, i + 1))) for i, picture in enumerate(pictures)]
        device = self._generator.device
        embeddings = {name: torch.stack([row[name].to(device) for row in rows]) for name in self._metrics}
        return embeddings, torch.stack([row[None] for row in rows]) if self._keep_images else None

    def _one(
        self, common: Mapping[str | None, Any], picture: Picture, make: Callable[[], Made]
    ) -> Mapping[str | None, Tensor]:
        """Embeddings (D,) by name of the metric; the image under None."""
        addresses = {name: json.dumps([*told, *picture]) for name, told in common.items()}
        known = {name: self._bank.get(address) for name, address in addresses.items()}
        found = {name: value for name, value in known.items() if value is not None}
        if len(found) == len(known):
            return found
        embeddings, images = make()
        made: dict[str | None, Tensor] = {name: values[0] for name, values in embeddings.items()}
        if images is not None:
            made[None] = images[0]
        for name, value in made.items():
            if name not in found:
                self._bank.put(addresses[name], value)
        return made

    def _common(self) -> dict[str | None, Any]:
        """What the addresses of all pictures have in common, by name of the metric; of images under None."""
        device = self._generator.device
        maker = [_VERSIONS, self._fingerprint(), _device(device)]
        common: dict[str | None, Any] = {
            name: [*maker, metric.id, metric.dimensions, _device(getattr(metric, "device", device))]
            for name, metric in self._metrics.items()
        }
        return common | ({None: [*maker, "image"]} if self._keep_images else {})


def _device(device: Any) -> str:
    """The kind of device, and what else rounding depends on there."""
    device = torch.device(device)
    if device.type == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


_VERSIONS = list(package_versions("torch", "diffusers", "transformers").items())
