"""Simulated users: from similarities to the goal, to a choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from steer_env.humans import HUMANS
from steer_env.humans.options import HesitantOptions, SoftmaxOptions
from steer_env.registry import Registry, build, parse_spec
from steer_env.ties import TIE, first_best_of
from steer_env.types import Human


class Chooser(Human, Protocol):
    """A user whose choices have known probabilities, so that a population can be fitted to people's choices."""

    def probabilities(self, similarities: Tensor) -> Tensor:
        """Of each choice, float (N, 1 + K), from similarities (N, 1 + K); what :meth:`choose` draws from."""


class GreedyHuman:
    """Always picks the image most similar to the goal (paper, C.2); on a tie the first, so the current image."""

    id = "greedy"

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        """
        >>> import torch
        >>> similarities = torch.tensor([[0.5, 0.4, 0.6], [0.5, 0.5, 0.1]])
        >>> GreedyHuman().choose(similarities, torch.rand(2, 3), torch.rand(2))
        tensor([2, 0])
        """
        return first_best_of(similarities)

    def probabilities(self, similarities: Tensor) -> Tensor:
        return _certain(self, similarities)


@dataclass
class SoftmaxHuman(SoftmaxOptions):
    """Bradley–Terry choice among 1 + K images.

    Raises:
        ValueError: an option out of range.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.id = f"softmax-{self.temperature:g}" + (f"-stay{self.stay:+g}" if self.stay else "")

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        # The largest after adding Gumbel noise is a draw from the softmax.
        tiny = torch.finfo(draws.dtype).tiny
        noise = -(-draws.clamp(min=tiny).log()).clamp(min=tiny).log()
        return (noise + self._scores(similarities)).argmax(dim=1)

    def probabilities(self, similarities: Tensor) -> Tensor:
        return self._scores(similarities).softmax(dim=1)

    def _scores(self, similarities: Tensor) -> Tensor:
        scores = similarities / self.temperature
        scores[:, 0] += self.stay / self.temperature
        return scores


@dataclass
class HesitantHuman(HesitantOptions):
    """Moves to the most similar proposal only if it beats the current image by a just-noticeable difference.

    Raises:
        ValueError: an option out of range.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.id = f"hesitant-{self.threshold:g}"

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        gained = similarities[:, 1:].amax(dim=1) - similarities[:, 0]
        return (first_best_of(similarities[:, 1:]) + 1).masked_fill(gained <= self.threshold + TIE, 0)

    def probabilities(self, similarities: Tensor) -> Tensor:
        return _certain(self, similarities)


def _certain(human: Human, similarities: Tensor) -> Tensor:
    """Probabilities of a user who leaves nothing to chance."""
    choices = human.choose(similarities, torch.zeros_like(similarities), similarities.new_zeros(len(similarities)))
    return one_hot(choices, similarities.shape[1]).to(similarities.dtype)


MEMBERS = Registry("member of a population", {name: HUMANS[name] for name in HUMANS if name != "mixture"})


class MixtureHuman:
    """A population of the members of :class:`steer_env.humans.options.PopulationOptions`.

    Each episode's user is drawn from it, and is the same in all rounds of the episode.

    Raises:
        ValueError: no member, one without a name, an unknown one, a weight out of range, or a wrong option.
    """

    def __init__(self, members: Sequence[str | Mapping[str, Any]]) -> None:
        if not members or not all(isinstance(entry, str | Mapping) for entry in members):
            raise ValueError(f"members must be entries such as {{name: greedy, weight: 0.5}}, got {members}")
        self.members, weights = zip(*map(_member, members), strict=True)
        self.weights = [weight / math.fsum(weights) for weight in weights]
        shares = zip(self.weights, self.members, strict=True)
        self.id = " + ".join(f"{weight:.3g} {member.id}" for weight, member in shares)

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        bounds = persons.new_tensor(self.weights).cumsum(dim=0)[:-1]
        drawn = torch.searchsorted(bounds, persons.contiguous(), right=True)
        choices = torch.stack([member.choose(similarities, draws, persons) for member in self.members], dim=1)
        return choices.gather(1, drawn[:, None])[:, 0]


def _member(spec: str | Mapping[str, Any]) -> tuple[Chooser, float]:
    name, options = parse_spec(spec)
    weight = options.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 1e-9 <= weight <= 1e9:
        raise ValueError(f"weight of member {name!r} must be from 1e-09 to 1e+09, got {weight}")
    return build(MEMBERS, {**options, "name": name}), float(weight)


class NewestImageHuman:
    """Goes on with the newest image whatever it looks like: the user of text steering, who has just prompted for it."""

    id = "writer"

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        return torch.full((len(similarities),), similarities.shape[1] - 1, device=similarities.device)
