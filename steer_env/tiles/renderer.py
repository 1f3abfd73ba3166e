"""Draw tilings: a batched, anti-aliased renderer on signed distances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from steer_env.tiles import tilings

RADII = (0.50, 0.70, 0.90)
ANGLES = (0.0, math.radians(20), math.radians(45))
BORDER_WIDTH = 0.16


def render(
    factors: np.ndarray, size: int, rng: np.random.Generator, nuisance: tilings.Nuisance | None = None
) -> Tensor:
    """Draw canonical tilings, int (N, 8), each with its own nuisance: float32 (N, 3, size, size) in [0, 1]."""
    nuisance = nuisance or tilings.Nuisance()
    n = len(factors)

    def uniform(*shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(-1, 1, (n, *shape)).astype(np.float32))

    def colour(column: int) -> Tensor:
        palette = torch.from_numpy(np.concatenate([tilings.RGB, np.zeros((1, 3), np.float32)]))
        return (palette[factors[:, column]] + nuisance.colour * uniform(3)).clamp(0, 1)

    has_border = torch.from_numpy(factors[:, tilings.BORDER] != tilings.NONE)
    has_alternate = torch.from_numpy(factors[:, tilings.ALTERNATE] != tilings.NONE)
    per_side = torch.from_numpy(factors[:, tilings.COUNT] + 1).float()
    angle = torch.tensor(ANGLES)[factors[:, tilings.ROTATION]] + nuisance.angle * uniform()
    radius = torch.tensor(RADII)[factors[:, tilings.SIZE]] * (1 + nuisance.radius * uniform())

    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    inner = 1 - BORDER_WIDTH * has_border.float()
    cells = torch.stack([x, y]) / inner[:, None, None, None]
    cells = (cells + 1) / 2 * per_side[:, None, None, None]
    index = cells.floor().clamp(min=0).minimum(per_side[:, None, None, None] - 1)
    local = (cells - index) * 2 - 1 - 2 * nuisance.shift * uniform(2)[:, :, None, None]
    # Signed distances come in units of the shape; a pixel is this many of them.
    pixel = (2 / size) * per_side / inner / radius
    distance = _distances(local, angle, radius, factors[:, tilings.SHAPE])
    coverage = (0.5 - distance / pixel[:, None, None]).clamp(0, 1)[:, None]

    odd = (index.sum(1) % 2 == 1) & has_alternate[:, None, None]
    ink = torch.where(odd[:, None], colour(tilings.ALTERNATE)[..., None, None], colour(tilings.COLOUR)[..., None, None])
    images = torch.lerp(colour(tilings.BACKGROUND)[..., None, None], ink, coverage)
    edge = (torch.maximum(x.abs(), y.abs()) - inner[:, None, None]) * (size / 2) + 0.5
    frame = edge.clamp(0, 1)[:, None] * has_border.float()[:, None, None, None]
    return torch.lerp(images, colour(tilings.BORDER)[..., None, None], frame)


def _distances(local: Tensor, angle: Tensor, radius: Tensor, shapes: np.ndarray) -> Tensor:
    """Signed distance to each image's own shape: (N, 2, S, S) cell coordinates → (N, S, S)."""
    cos, sin = (f(angle)[:, None, None] for f in (torch.cos, torch.sin))
    x, y = local[:, 0] / radius[:, None, None], local[:, 1] / radius[:, None, None]
    x, y = cos * x + sin * y, cos * y - sin * x
    distance = torch.empty_like(x)
    for number, shape in enumerate(_SHAPES):
        chosen = torch.from_numpy(shapes == number)
        distance[chosen] = shape(x[chosen], y[chosen])
    return distance


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    y = y - 0.15
    slant = math.sqrt(3) / 2
    return torch.maximum(y, slant * x.abs() - 0.5 * y) - 0.56


def _star(x: Tensor, y: Tensor) -> Tensor:
    fifth = 2 * math.pi / 5
    theta = torch.atan2(x, -y)
    theta = (theta - fifth * torch.round(theta / fifth)).abs()
    r = torch.hypot(x, y)
    tip, notch = 1.05, (0.44 * math.cos(fifth / 2), 0.44 * math.sin(fifth / 2))
    edge = (notch[0] - tip, notch[1])
    length = math.hypot(*edge)
    return ((r * theta.cos() - tip) * edge[1] - r * theta.sin() * edge[0]) / length


def _cross(x: Tensor, y: Tensor) -> Tensor:
    bar = torch.maximum(x.abs() - 0.95, y.abs() - 0.30)
    return torch.minimum(bar, torch.maximum(y.abs() - 0.95, x.abs() - 0.30))


_SHAPES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, y: torch.hypot(x, y) - 0.92,
    lambda x, y: torch.maximum(x.abs(), y.abs()) - 0.78,
    _triangle,
    _star,
    _cross,
    lambda x, y: (torch.hypot(x, y) - 0.68).abs() - 0.24,
)
"""Signed distances, in the order of ``tilings.SHAPES``."""
