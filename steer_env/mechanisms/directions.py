"""Directions in the space of latents: orthonormal ones, and noise that is turned towards some of them."""

from __future__ import annotations

import torch
from torch import Tensor

_DEPENDENT = 1e-4
"""A vector of which only this share of its length is new, or less, points nowhere new: the rest is rounding."""


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products over the last dimension, which is kept with a size of 1.

    A sum of products, not a matrix product: its result doesn't depend on the size of the batch.
    """
    return (a * b).sum(dim=-1, keepdim=True)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (…, D) at a length of 1; zero stays zero."""
    return torch.nn.functional.normalize(vectors, dim=-1)


def orthonormal(vectors: Tensor) -> Tensor:
    """Gram and Schmidt's: each vector's new direction, float (N, M, D) → (N, M, D).

    Returns:
        Unit vectors, each orthogonal to those before it; zero for a vector that those before it span.
    """
    found: list[Tensor] = []
    for vector in vectors.unbind(dim=1):
        rest = vector
        for _ in range(2):  # Once would leave the rounding errors of nearly dependent vectors.
            for before in found:
                rest = rest - dot(rest, before) * before
        new = rest.norm(dim=-1, keepdim=True) > _DEPENDENT * vector.norm(dim=-1, keepdim=True)
        found.append(torch.where(new, unit(rest), torch.zeros_like(rest)))
    return torch.stack(found, dim=1)


def across(noise: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Noise (N, K, D) as two parts that add up to it: along the current latents (N, D), and orthogonal to them.

    Whoever turns the second part, and keeps its length, leaves a proposal's length and its likeness to the current
    latent as Eq. 8 has them. If directions and latents have no preferred orientation, neither have the proposals, which
    so stay standard normal.
    """
    held = unit(latents)[:, None]
    along = dot(noise, held) * held
    return along, noise - along
