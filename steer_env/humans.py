"""Simulated users: from similarities to the goal, to a choice."""

from __future__ import annotations

from torch import Tensor

from steer_env.registry import Registry
from steer_env.types import Human


class GreedyHuman:
    """Always picks the image most similar to the goal (paper, C.2); on a tie keeps the current image."""

    id = "greedy"

    def choose(self, similarities: Tensor, draws: Tensor) -> Tensor:
        """See :class:`steer_env.types.Human`; the draws aren't used.

        >>> import torch
        >>> GreedyHuman().choose(torch.tensor([[0.5, 0.4, 0.6], [0.5, 0.5, 0.1]]), torch.rand(2, 3))
        tensor([2, 0])
        """
        best, choice = similarities.max(dim=1)
        return choice.masked_fill(similarities[:, 0] >= best, 0)


HUMANS: Registry[Human] = Registry("human", {"greedy": GreedyHuman()})
