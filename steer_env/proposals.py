"""How proposals are drawn: mixture scales, their buckets, and Eq. 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

BUCKETS = 10
"""Number of equally spaced mixture scales, 0.1 to 1.0 (paper, C.2)."""


def bucket_scales(buckets: np.ndarray, n: int = BUCKETS) -> np.ndarray:
    """Mixture scale of each bucket, (b + 1) / n: integers in [0, n) → float64 in (0, 1], same shape.

    Raises:
        ValueError: a bucket out of range, or not an integer.

    >>> bucket_scales(np.array([0, 9]))
    array([0.1, 1. ])
    """
    buckets = np.asarray(buckets)
    if not np.issubdtype(buckets.dtype, np.integer):
        raise ValueError(f"buckets are integers from 0 to {n - 1}, got {buckets.dtype} {buckets!r}")
    wrong = (buckets < 0) | (buckets >= n)
    if wrong.any():
        raise ValueError(f"bucket {buckets[wrong].flat[0]} is out of range: allowed are 0 to {n - 1}")
    return (buckets + 1) / n


def check_scales(scales: np.ndarray) -> np.ndarray:
    """Mixture scales as float64.

    Raises:
        ValueError: a scale outside [0, 1] or not finite, or what isn't a number.
    """
    scales = _numbers("mixture scales", scales).astype(np.float64)
    wrong = ~((scales >= 0) & (scales <= 1))
    if wrong.any():
        raise ValueError(f"mixture scale {scales[wrong].flat[0]} is out of range: allowed is [0, 1]")
    return scales


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        numbers = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be numbers in one array, got {values!r:.60}") from None
    if numbers.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be numbers, got {values!r:.60}")
    return numbers


def check_directions(actions: np.ndarray) -> np.ndarray:
    """Actions as float32.

    Raises:
        ValueError: an entry outside [−1, 1] or not finite, or what isn't a number.
    """
    actions = _numbers("actions", actions).astype(np.float32)
    wrong = ~((actions >= -1) & (actions <= 1))
    if wrong.any():
        raise ValueError(f"an action holds {actions[wrong].flat[0]}: allowed is [-1, 1]")
    return actions


def mix(latents: Tensor, noise: Tensor, scales: Tensor) -> Tensor:
    """Eq. 8: ((1 − s) z + s ε) / sqrt(s² + (1 − s)²), which keeps the variance of standard normal latents.

    Args:
        latents: float (N, *latent_shape).
        noise: standard normal (N, K, *latent_shape).
        scales: float (N,) in [0, 1].

    Returns:
        float (N, K, *latent_shape), of the latents' dtype.
    """
    s = scales.to(latents).reshape(-1, 1, *[1] * (latents.ndim - 1))
    return ((1 - s) * latents[:, None] + s * noise) / (s.square() + (1 - s).square()).sqrt()


def draw_latents(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Standard normal latents float32 (B, *shape), each from its own seed.

    They are those of a diffusers pipeline called with ``generator=torch.Generator().manual_seed(seed)``.
    """
    import torch  # Policies need scales alone.

    latents = torch.empty(len(seeds), *shape, dtype=torch.float32, device="cpu")
    for row, seed in zip(latents, seeds, strict=True):
        row.normal_(generator=torch.Generator("cpu").manual_seed(seed))
    return latents
