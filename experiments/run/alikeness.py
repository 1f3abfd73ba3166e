"""How well expected embeddings of a prompt's images tell which of them are alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
