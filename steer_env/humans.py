"""Simulated users: from similarities to the goal, to a choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
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


class SoftmaxHuman:
    """Picks image i with probability ∝ exp(similarityᵢ / temperature): Bradley–Terry choice among 1 + K images.

    Args:
        temperature: in units of similarity. The default is that of the annotators of the paper's study, who preferred
            the later of two images with log-odds 7.65 per unit of DreamSim similarity.
        stay: bias to the current image, as if it were so much more similar; negative for a user who likes change.

    Raises:
        ValueError: a temperature that isn't positive, or a bias that isn't finite.
    """

    def __init__(self, temperature: float = 0.13, stay: float = 0.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}; the limit of 0 is the greedy human")
        if not math.isfinite(stay):
            raise ValueError(f"stay must be a finite number, got {stay}")
        self.temperature, self.stay = temperature, stay
        self.id = f"softmax-{temperature:g}" + (f"-stay{stay:+g}" if stay else "")

    def choose(self, similarities: Tensor, draws: Tensor) -> Tensor:
        """See :class:`steer_env.types.Human`; adds Gumbel noise made of the draws, and takes the largest."""
        tiny = torch.finfo(draws.dtype).tiny
        scores = -(-draws.clamp(min=tiny).log()).clamp(min=tiny).log() + similarities / self.temperature
        scores[:, 0] += self.stay / self.temperature
        return scores.argmax(dim=1)


class HesitantHuman:
    """Moves to the most similar proposal only if it beats the current image by a just-noticeable difference.

    Args:
        threshold: that difference, in units of similarity.

    Raises:
        ValueError: a negative threshold.
    """

    def __init__(self, threshold: float = 0.02) -> None:
        if not threshold >= 0:
            raise ValueError(f"threshold must not be negative, got {threshold}")
        self.threshold = threshold
        self.id = f"hesitant-{threshold:g}"

    def choose(self, similarities: Tensor, draws: Tensor) -> Tensor:
        """See :class:`steer_env.types.Human`; the draws aren't used."""
        best, choice = similarities[:, 1:].max(dim=1)
        return (choice + 1).masked_fill(best - similarities[:, 0] <= self.threshold, 0)


class Writer:
    """Goes on with the newest image whatever it looks like: the user of text steering, who has just asked for it."""

    id = "writer"

    def choose(self, similarities: Tensor, draws: Tensor) -> Tensor:
        """See :class:`steer_env.types.Human`; neither similarities nor draws are used."""
        return torch.full((len(similarities),), similarities.shape[1] - 1, device=similarities.device)


HUMANS: Registry[Callable[..., Human]] = Registry(
    "human", {"greedy": GreedyHuman, "softmax": SoftmaxHuman, "hesitant": HesitantHuman}
)


def load_human(name: str = "greedy", **options: Any) -> Human:
    """The simulated user of that name; see its class for the options.

    Raises:
        ValueError: an unknown name or option value.
    """
    return HUMANS[name](**options)
