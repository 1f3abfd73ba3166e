"""What networks share that learn the embeddings of images before these are made: examples, loss, and a measure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from steer_env.types import Conditioning

_AT_A_TIME = 32


@torch.inference_mode()
def in_parts(
    make: Callable[[Tensor, Conditioning], tuple[Tensor, ...]],
    latents: Tensor,
    conditioning: Conditioning,
    device: torch.device,
) -> list[Tensor]:
    """What is made of latents (N, …) and their conditioning, a few at a time, in bfloat16: float16 tensors (N, …)."""
    parts = [slice(start, start + _AT_A_TIME) for start in range(0, len(latents), _AT_A_TIME)]
    with torch.autocast(device.type, torch.bfloat16):
        made = [make(latents[part].to(device), {k: v[part] for k, v in conditioning.items()}) for part in parts]
    return [torch.cat([each.float().cpu() for each in values]).half() for values in zip(*made, strict=True)]


def embedding_loss(expected: Tensor, true: Tensor, likeness: float) -> Tensor:
    """Squared error of embeddings (M, n, D) of M prompts, and likeness times that of similarities within a prompt."""
    alike = nn.functional.mse_loss(expected @ true.mT, true @ true.mT)
    return (expected - true).square().sum(dim=2).mean() + likeness * alike


def alikeness(expected: Tensor, true: Tensor) -> float:
    """Correlation, within prompts, of an expected embedding's similarity to another image with that of the two images.

    Args:
        expected, true: float (M, n, D), of n images of each of M prompts.
    """
    pairs = torch.triu_indices(true.shape[1], true.shape[1], 1)

    def centred(group: Tensor) -> Tensor:
        """Similarities to the true embeddings of the same prompt, less their mean over the prompt's pairs."""
        alike = (group @ true.mT)[:, pairs[0], pairs[1]]
        return (alike - alike.mean(dim=1, keepdim=True)).flatten()

    return float(torch.cosine_similarity(centred(expected), centred(true), dim=0))
