"""Do pictures show what their captions say? Each factor is read off a picture by comparing it with drawings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from steer_env.tiles import tilings
from steer_env.tiles.renderer import render


def readings(images: Tensor, factors: np.ndarray) -> dict[str, np.ndarray]:
    """For each factor, whether the picture looks most like the drawing of the value that its caption names.

    A picture is compared, by its mean squared difference, with drawings of every value of the factor, the other
    factors being as captioned. Where all values look the same, as rotations of a circle do, nothing is read.

    Args:
        images: float (N, 3, S, S) in [0, 1].
        factors: int (N, 8), the canonical tilings that the captions name in full.

    Returns:
        Name of each factor → bool (M,), M ≤ N.
    """
    right = {}
    for column, name in enumerate(tilings.FACTORS):
        candidates = _candidates(factors, column)
        apart = (candidates != candidates[:, :1]).any(axis=(1, 2))
        likeness = torch.stack([_likeness(images, candidates[:, value]) for value in range(candidates.shape[1])], dim=1)
        read = candidates[np.arange(len(factors)), likeness.argmax(dim=1).numpy()]
        right[name] = (read == factors).all(axis=1)[apart]
    return right


def _candidates(factors: np.ndarray, column: int) -> np.ndarray:
    """The tilings that differ in one factor: int (N, V, 8)."""
    values = tilings.CARDINALITIES[column]
    candidates = factors[:, None].repeat(values, axis=1)
    candidates[:, :, column] = np.arange(values)
    return tilings.canonical(candidates.reshape(-1, len(tilings.FACTORS))).reshape(candidates.shape)


def _likeness(images: Tensor, factors: np.ndarray) -> Tensor:
    """Negative mean squared difference to the drawings of tilings (N, 8): float (N,)."""
    exact = tilings.Nuisance(shift=0.0, angle=0.0, radius=0.0, colour=0.0)
    drawings = render(factors, images.shape[-1], np.random.default_rng(0), exact)
    return -(images - drawings).square().mean(dim=(1, 2, 3))
