"""The studio in this process, and what every studio does: shards of a fixed size, the goal bank, checks and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from steer_env.imaging.bank import GoalBank, Made, Maker, addresses, maker_of, through
from steer_env.imaging.options import LocalOptions
from steer_env.proposals import draw_latents
from steer_env.types import Conditioning, Fingerprinted, Generator, Metric, Picture, PreviewingGenerator


class Shard(NamedTuple):
    """A part of the images to make.

    Args:
        latents: float (n, *latent_shape).
        conditioning: any number of rows.
        rows: which of them the latents are for, in order: a slice, or int64 (n,).
    """

    latents: Tensor
    conditioning: Conditioning
    rows: slice | Tensor


class LocalStudio:
    """Makes images in this process, see :class:`steer_env.types.Studio`.

    Args:
        generator: makes the images.
        metric: embeds them; the one that users choose by, called ``""``.
        judges: further metrics that embed every image, by name.
        goal_bank: where pictures of a prompt and a seed are found again, see :mod:`steer_env.imaging.bank`.
        shard: images made at a time, here or by a worker; 0 for the generator's ``max_batch``. What comes of an
            image depends on it in the last digits, and on nothing else of a studio.
        overlap: embed a shard while the next one is generated, where both happen on one GPU.

    Attributes:
        images: how many images have been made.

    Raises:
        ValueError: a shard out of range, or a goal bank for a generator without a fingerprint.
    """

    def __init__(
        self,
        generator: Generator,
        metric: Metric,
        judges: Mapping[str, Metric] | None = None,
        goal_bank: GoalBank | None = None,
        shard: int = 0,
        overlap: bool = False,
    ) -> None:
        LocalOptions(shard, overlap)
        if goal_bank is not None and not isinstance(generator, Fingerprinted):
            raise ValueError(
                f"a goal bank must tell generators apart by all that their images depend on: give {generator.id!r} a "
                "method fingerprint() that returns it as a string, or use no goal_bank"
            )
        self.generator, self.metric = generator, metric
        self.metrics: Mapping[str, Metric] = {"": metric, **(judges or {})}
        self.images = 0
        self._bank, self._shard, self._overlap = goal_bank, shard, overlap
        self._held = dict(self.metrics)

    def name_of(self, metric: Metric) -> str:
        """See :class:`steer_env.types.Studio`."""
        for name, held in self._held.items():
            if held is metric:
                return name
        name = metric.id
        while name in self._held:
            name += "'"
        self._held[name] = metric
        return name

    def prepare(self, pictures: Sequence[Picture]) -> tuple[Tensor, Conditioning]:
        """See :class:`steer_env.types.Studio`."""
        latents = draw_latents([seed for _, seed in pictures], self.generator.latent_shape)
        return latents.to(self.generator.device), self.generator.encode([prompt for prompt, _ in pictures])

    @torch.inference_mode()
    def picture(
        self,
        latents: Tensor,
        conditioning: Conditioning,
        place: str,
        rows: Tensor | None = None,
        keep_images: bool = False,
        metrics: Sequence[str] | None = None,
        pictures: Sequence[Picture] | None = None,
        preview_steps: int = 0,
    ) -> Made:
        """See :class:`steer_env.types.Studio`."""
        if not torch.isfinite(latents).all():
            raise FloatingPointError(f"latents that are not finite in {place}")
        names = list(self.metrics if metrics is None else metrics)
        if self._bank is None or pictures is None:
            size = self._shard or self.generator.max_batch
            shards = _cut(latents, conditioning, rows, size)
            embeddings, images = self._join(shards, names, keep_images, preview_steps)
        else:

            def alone(lacking: Tensor) -> Made:
                own = lacking if rows is None else rows[lacking]
                return self._join(_cut(latents[lacking], conditioning, own, 1), names, keep_images)

            parts = self._maker()
            known = addresses(pictures, {**{name: parts[name] for name in names}, **_images(parts, keep_images)})
            embeddings, images = through(self._bank, known, alone, self.generator.device)
        if not all(bool(torch.isfinite(values).all()) for values in embeddings.values()):
            raise FloatingPointError(f"embeddings that are not finite in {place}")
        return embeddings, images

    def _join(self, shards: Iterable[Shard], names: Sequence[str], keep_images: bool, preview_steps: int = 0) -> Made:
        """What comes of all shards, in their order."""
        device = self.generator.device
        embeddings = {name: [torch.zeros(0, self._held[name].dimensions, device=device)] for name in names}
        images = [torch.zeros(0, *self.generator.image_shape, dtype=torch.uint8)]
        for made, pixels in self._make(shards, names, keep_images, preview_steps):
            for name, values in made.items():
                embeddings[name].append(values)
            if pixels is not None:
                images.append(pixels)
        joined = {name: torch.cat(parts) for name, parts in embeddings.items()}
        if not preview_steps:
            self.images += len(next(iter(joined.values())))
        return joined, torch.cat(images) if keep_images else None

    def _make(
        self, shards: Iterable[Shard], names: Sequence[str], keep_images: bool, preview_steps: int
    ) -> Iterator[Made]:
        """What comes of each shard."""
        metrics = {name: self._held[name] for name in names}
        generator = maker(self.generator, preview_steps)
        if self._overlap and torch.device(generator.device).type == "cuda":
            yield from overlapped(generator, metrics, shards, keep_images)
            return
        for latents, conditioning, rows in shards:
            own = {name: values[rows] for name, values in conditioning.items()}
            yield make(generator, metrics, latents, own, keep_images)

    def _maker(self) -> Maker:
        """What the addresses of all pictures in the bank have in common, see :func:`maker_of`."""
        return maker_of(self.generator, self._held)


def maker(generator: Generator, preview_steps: int) -> Generator:
    """The generator, or that of its previews of so many denoiser passes."""
    if not preview_steps:
        return generator
    assert isinstance(generator, PreviewingGenerator)
    return generator.preview(preview_steps)


def make(
    generator: Generator, metrics: Mapping[str, Metric], latents: Tensor, conditioning: Conditioning, keep_images: bool
) -> Made:
    """Make and embed the images of one shard, wherever the generator is."""
    images = generator.generate(latents, conditioning)
    embeddings = {name: metric.embed(images) for name, metric in metrics.items()}
    return embeddings, (images * 255).round().to(torch.uint8).cpu() if keep_images else None


def overlapped(
    generator: Generator, metrics: Mapping[str, Metric], shards: Iterable[Shard], keep_images: bool
) -> list[Made]:
    """The same for many shards of one GPU: each is embedded on a second stream, beside the next one's generation."""
    side, made = torch.cuda.Stream(generator.device), []
    for latents, conditioning, rows in shards:
        images = generator.generate(latents, {name: values[rows] for name, values in conditioning.items()})
        side.wait_stream(torch.cuda.current_stream(generator.device))
        with torch.cuda.stream(side):
            # Else the memory of the images could be given to the next ones before they are read.
            images.record_stream(side)
            embeddings = {name: metric.embed(images) for name, metric in metrics.items()}
            made.append((embeddings, _to_pinned((images * 255).round().to(torch.uint8)) if keep_images else None))
    torch.cuda.current_stream(generator.device).wait_stream(side)
    side.synchronize()
    return made


def _to_pinned(images: Tensor) -> Tensor:
    """A copy in main memory, which is there once the stream has come so far."""
    return torch.empty(images.shape, dtype=images.dtype, pin_memory=True).copy_(images, non_blocking=True)


def _cut(latents: Tensor, conditioning: Conditioning, rows: Tensor | None, size: int) -> Iterator[Shard]:
    for start in range(0, len(latents), size):
        part = slice(start, start + size)
        yield Shard(latents[part], conditioning, part if rows is None else rows[part])


def _images(maker: Maker, keep_images: bool) -> Maker:
    return {None: maker[None]} if keep_images else {}
