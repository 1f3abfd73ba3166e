"""What a user's choices within an episode say: which images were preferred to which others."""

from __future__ import annotations

import torch
from torch import Tensor

from steer_env.types import SteeringHistory


def shown(latents: Tensor, history: SteeringHistory) -> Tensor:
    """Latents of all images that the user may compare.

    Args:
        latents: float (N, *latent_shape), of the current images.
        history: the same episodes' earlier rounds.

    Returns:
        float (N, R·K + 1, D): proposals in their order, zero where a round isn't played yet; the current image last.
    """
    return torch.cat([history.proposals.flatten(3).flatten(1, 2), latents.flatten(1)[:, None]], dim=1)


def comparisons(history: SteeringHistory) -> Tensor:
    """Each proposal that wasn't taken, against the image that the user went on with.

    The first image is remembered by nobody once the user has left it. Where it was kept, what the user left it for
    stands in its place, being preferred to it.

    Returns:
        float (N, R·K, R·K + 1), a row a proposal: −1 for the proposal itself, +1 for the image preferred to it, among
        those of :func:`shown`; zero for a proposal that was taken, or not made yet.
    """
    rounds, k = history.proposals.shape[1:3]
    device = history.choices.device
    places = torch.arange(rounds * k, device=device).reshape(rounds, k)
    taken = history.choices[:, :, None] == 1 + torch.arange(k, device=device)
    # Later rounds have higher places: the last one taken so far is the highest, the first one ever the lowest.
    held = torch.where(taken, places, -1).amax(dim=2).cummax(dim=1).values
    first = torch.where(taken, places, rounds * k).flatten(1).amin(dim=1)
    held = torch.where(held < 0, first[:, None], held).repeat_interleave(k, dim=1)
    played = torch.arange(rounds, device=device) < torch.as_tensor(history.rounds, device=device)[:, None]
    lost = (played[:, :, None] & ~taken).flatten(1)
    pairs = torch.nn.functional.one_hot(held, rounds * k + 1)
    pairs.diagonal(dim1=1, dim2=2).sub_(1)
    return (pairs * lost[:, :, None]).to(history.proposals)
