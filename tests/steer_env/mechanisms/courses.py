"""Histories of small latents, for mechanisms that learn from choices."""

from __future__ import annotations

import numpy as np
import torch

from steer_env.types import Mechanism, SteeringHistory

SHAPE = (2, 5, 3)
UNSEEN = torch.zeros(1, 1, 3, 2)
"""Embeddings of what was shown, for mechanisms that look at none."""


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def history(choices: list[list[int]], played: list[int], proposals: int = 2) -> SteeringHistory:
    """Of episodes with these choices, of which so many rounds were played."""
    n, rounds = len(choices), len(choices[0])
    past = randn(n, rounds, proposals, *SHAPE, seed=7)
    for row, last in enumerate(played):
        past[row, last:] = 0
    return SteeringHistory(
        np.arange(n),
        np.array(played),
        list(range(n)),
        {},
        past,
        torch.tensor(choices),
        UNSEEN.expand(n, rounds, -1, -1),
    )


def preferred(choices: list[int], played: int) -> list[tuple[int, int]]:
    """(better, worse) among the proposals of three rounds, 0 to 5, and the image held now, 6: by playing it through."""
    moves = [(turn, 2 * turn + pick - 1) for turn, pick in enumerate(choices[:played]) if pick]
    pairs = []
    for turn, pick in enumerate(choices[:played]):
        before = [image for when, image in moves if when <= turn]
        held = before[-1] if before else next(iter([image for _, image in moves]), 6)
        pairs += [(held, 2 * turn + other) for other in (0, 1) if other != pick - 1]
    return pairs


def likeness(mechanism: Mechanism, scale: float = 0.6, n: int = 1000, rounds: int = 4) -> float:
    """Mean cosine to a goal that greedy users of the latents themselves reach."""
    goals, latents = randn(n, *SHAPE, seed=1), randn(n, *SHAPE, seed=2)
    past, choices = torch.zeros(n, rounds, 2, *SHAPE), torch.zeros(n, rounds, dtype=torch.int64)
    found = torch.zeros(n, 1)
    for played in range(rounds):
        course = SteeringHistory(
            np.arange(n), np.full(n, played), range(n), {}, past, choices, UNSEEN.expand(n, rounds, -1, -1)
        )
        noise = randn(n, 2, *SHAPE, seed=3 + played)
        past[:, played] = mechanism.propose(latents, torch.full((n,), scale), noise, course)
        images = torch.cat([latents[:, None], past[:, played]], dim=1)
        found = torch.cosine_similarity(images.flatten(2), goals.flatten(1)[:, None], dim=2)
        choices[:, played] = found.argmax(dim=1)
        latents = images[torch.arange(n), choices[:, played]]
    return float(found.amax(dim=1).mean())
