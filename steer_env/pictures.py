"""From latents to embeddings: the only place where the dynamics makes images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from steer_env.types import Conditioning, Generator, Metric


def picture(
    generator: Generator,
    metrics: Mapping[str, Metric],
    latents: Tensor,
    conditioning: Conditioning,
    place: str,
    keep_images: bool = False,
    rows: Tensor | None = None,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Generate and embed, at most ``generator.max_batch`` images at a time.

    Args:
        generator: makes the images.
        metrics: embed them, by name.
        latents: float (B, *latent_shape); B may be 0.
        conditioning: B rows; any number where ``rows`` are given.
        place: where in an episode, for errors.
        keep_images: return the images too.
        rows: int64 (B,), the row of the conditioning that each latent is for, where many share one.

    Returns:
        By name of each metric, embeddings (B, D); and the images uint8 (B, 3, H, W) in main memory, or None.

    Raises:
        FloatingPointError: latents or embeddings that aren't finite, with the place.
    """
    if not torch.isfinite(latents).all():
        raise FloatingPointError(f"latents that are not finite in {place}")
    embeddings = {name: [latents.new_zeros(0, metric.dimensions)] for name, metric in metrics.items()}
    images = [torch.zeros(0, *generator.image_shape, dtype=torch.uint8)]
    for start in range(0, len(latents), generator.max_batch):
        part = slice(start, start + generator.max_batch)
        chosen = part if rows is None else rows[part]
        batch = generator.generate(latents[part], {name: values[chosen] for name, values in conditioning.items()})
        for name, metric in metrics.items():
            embeddings[name].append(metric.embed(batch))
        if keep_images:
            images.append((batch * 255).round().to(torch.uint8).cpu())
    joined = {name: torch.cat(parts) for name, parts in embeddings.items()}
    if not all(bool(torch.isfinite(values).all()) for values in joined.values()):
        raise FloatingPointError(f"embeddings that are not finite in {place}")
    return joined, torch.cat(images) if keep_images else None
