"""An actor and critic for Stable-Baselines3 that offers directions of a codebook, by what it knows of their images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors.torch import load, save
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from steer_env.files import write_atomically
from steer_env.proposals import check_scales

NEEDS = ("embedding", "conditioning", "history")
"""Observations that a proposer sees."""
_NEVER = -1e4
"""Score of a direction that was offered before."""
Picker = Callable[[int, Tensor], Tensor]
"""Number of a proposal and scores (N, P) → places int64 (N,)."""


@dataclass(frozen=True)
class ProposerShape:
    """Sizes of a proposer.

    Args:
        codes: P, directions of the codebook.
        size: d, entries of each.
        conditioning: C, of a prompt as the environment shows it.
        dimensions: D, of an embedding.
        rounds: R of an episode.
        leash: of the directions.
        scales: M mixture scales, at which a proposal may be the mixture's instead, without any direction.
        code: entries that the network learns of each direction.
        width: of hidden layers.
    """

    codes: int
    size: int
    conditioning: int
    dimensions: int
    rounds: int
    leash: float
    scales: tuple[float, ...] = ()
    code: int = 64
    width: int = 192


class Proposer(nn.Module):
    """Scores the directions of a codebook for a round, from the user's prompt and the history.

    It knows what the image of each direction looks like for a prompt. As a Bayesian mechanism does
    (docs/mechanisms.md), it takes these images for hypotheses about the goal, believes them by how likely the user's
    choices were, and scores a direction by the expected similarity of the best image on the screen. A proposal of the
    mixture is scored by a hope, how much better than the image held it will be. The network is fitted beforehand
    (experiments.proposer); an agent learns the user's temperature, the hopes, how sharply each round goes by worth, and
    which directions it likes anyway.

    Args:
        shape: sizes.
        codes: float (P, d), unit vectors, which stay as they are.
    """

    codes: Tensor
    source = ""
    """SHA-256 of the file that it was read from."""

    def __init__(self, shape: ProposerShape, codes: Tensor | None = None) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        self.register_buffer("codes", torch.zeros(shape.codes, shape.size) if codes is None else codes.float())
        self.prompt = nn.Sequential(
            *(nn.LayerNorm(shape.conditioning), nn.Linear(shape.conditioning, width), nn.SiLU()),
            nn.Linear(width, width),
        )
        self.code = nn.Parameter(torch.randn(shape.codes, shape.code))
        self.joint = nn.Linear(shape.code, width)
        self.turned = nn.Linear(width, width)
        self.image = nn.Sequential(
            *(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()),
            nn.Linear(width, shape.dimensions),
        )
        self.temperature = nn.Parameter(torch.tensor(log(0.03)))
        self.sharpness = nn.Parameter(torch.full((shape.rounds + 1,), log(300.0)))
        self.liking = nn.Parameter(torch.zeros(shape.rounds + 1, shape.codes))
        self.hope = nn.Parameter(torch.zeros(shape.rounds + 1, len(shape.scales)))

    def knowledge(self) -> Iterator[nn.Parameter]:
        """The weights of the network that knows images."""
        yield self.code
        for part in (self.prompt, self.joint, self.turned, self.image):
            yield from part.parameters()

    def expect(self, conditioning: Tensor, places: Tensor | None = None) -> Tensor:
        """Embeddings (N, P', D) expected of a prompt's images, shorter than 1 by what isn't known.

        Args:
            conditioning: float (N, C).
            places: int64 (N, P'), of which directions; of all by default.
        """
        code, prompt = self.joint(self.code), self.prompt(conditioning)[:, None]
        code = code[None] if places is None else code[places]
        return self.image(code * (1 + self.turned(nn.functional.silu(prompt))) + prompt)

    def offers(self) -> Tensor:
        """Float (P + M, 1 + d), what may be a proposal: the directions at a mixture scale of 1, and the mixture's."""
        scales = torch.tensor([1.0] * self.shape.codes + list(self.shape.scales))
        directions = torch.cat([self.codes, torch.zeros(len(self.shape.scales), self.shape.size)])
        return torch.cat([2 * scales[:, None] - 1, directions], dim=1)

    def direction(self, places: Tensor) -> Tensor:
        """One-hot (N, P) of what is offered, int64 (N,); zeros for proposals of the mixture."""
        return one_hot(places, self.shape.codes + len(self.shape.scales))[:, : self.shape.codes]

    def save(self, file: Path) -> None:
        """Write a safetensors file with the sizes in its metadata."""
        content = save(self.state_dict(), {"shape": json.dumps(asdict(self.shape))})
        write_atomically(file, content)

    @classmethod
    def load(cls, file: str) -> Proposer:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: no such file, or another kind of file.
        """
        try:
            if not (place := Path(file).expanduser()).is_file():
                raise FileNotFoundError("no such file")
            content = place.read_bytes()
            weights = load(content)
            # Whose header, which is JSON, follows its own length.
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            shape = ProposerShape(**json.loads(header["__metadata__"]["shape"]))
            proposer = cls(shape)
            proposer.load_state_dict(weights)
            proposer.source = hashlib.sha256(content).hexdigest()
            check_scales(np.array(shape.scales, dtype=float))
            if not all(bool(weights.isfinite().all()) for weights in proposer.state_dict().values()):
                raise ValueError("a weight isn't finite")
        except Exception as error:
            raise ValueError(f"agent.warm_start={file} isn't a file of experiments.proposer: {error}") from None
        return proposer

    def again(self) -> Proposer:
        """A copy with weights of its own. Making it draws as many random numbers as :meth:`load` does."""
        other = Proposer(self.shape)
        other.load_state_dict(self.state_dict())
        return other


class Turn:
    """A round of N episodes, as a proposer understands it.

    Args:
        proposer: understands it.
        seen: by name, the parts of the observation (N, …), the round one-hot.
    """

    def __init__(self, proposer: Proposer, seen: Mapping[str, Tensor]) -> None:
        self.proposer, self.round = proposer, seen["round"]
        self.images = proposer.expect(seen["conditioning"])
        alike, itself = self.images @ self.images.transpose(1, 2), torch.eye(proposer.shape.codes)
        # Whatever is known of an image, it is itself.
        self.alike = alike * (1 - itself) + itself
        self.prompt = proposer.prompt(seen["conditioning"])
        self.evidence = self.offered = torch.zeros(len(self.images), proposer.shape.codes)
        rounds = torch.eye(proposer.shape.rounds + 1)
        # Of the last round of all there is nothing to remember: no round follows it.
        for place in range(proposer.shape.rounds - 1):
            shown, chosen, played = (seen[name][:, place] for name in ("shown", "chosen", "played"))
            self._remember(shown, chosen, played, rounds[place : place + 1])
        self.belief = self.evidence.softmax(dim=1)
        self.held = self._like(seen["embedding"])

    def _like(self, embedding: Tensor) -> Tensor:
        """Similarity (N, P) of an image (N, D) to each hypothesis."""
        return (self.images @ embedding[:, :, None])[:, :, 0]

    def _remember(self, shown: Tensor, chosen: Tensor, played: Tensor, place: Tensor) -> None:
        """Learn of a past round; directions that were offered then aren't offered again.

        Which they were isn't observed: those that it would have offered without exploring.
        """
        like = torch.stack([self._like(image) for image in shown.unbind(1)], dim=2)

        belief = self.evidence.softmax(dim=1)
        with torch.no_grad():
            offered, _ = self._offer(greedily, shown.shape[1] - 1, belief, like[:, :, 0], place)
        likely = torch.log_softmax(like / self.proposer.temperature.exp(), dim=2)
        for one in offered:
            self.offered = self.offered + self.proposer.direction(one) * played[:, None]
        self.evidence = self.evidence + (likely * chosen[:, None]).sum(dim=2) * played[:, None]

    def _offer(
        self, pick: Picker, proposals: int, belief: Tensor, best: Tensor, place: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Places (N,) and scores (N, P + M) of each proposal, which adds to those before it."""
        proposer = self.proposer
        sharpness, liking = place @ proposer.sharpness.exp()[:, None], place @ proposer.liking
        hope = place @ proposer.hope
        offered, picked, scored = self.offered, [], []
        for number in range(proposals):
            worth = (torch.maximum(self.alike, best[:, None]) * belief[:, None]).sum(dim=2)
            directed = sharpness * worth + liking + _NEVER * offered
            hoped = hope + (belief * best).sum(dim=1, keepdim=True)
            scores = torch.cat([directed, sharpness * hoped], dim=1)
            places = pick(number, scores)
            chosen = proposer.direction(places)
            best = torch.maximum(best, (self.alike * chosen[:, :, None]).sum(dim=1))
            offered = offered + chosen
            picked.append(places)
            scored.append(scores)
        return picked, scored

    def offer(self, pick: Picker, proposals: int) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the round's proposals.

        Returns:
            Places int64 (N, K); log-probabilities (N,) and entropies (N,) of them together.
        """
        picked, scored = self._offer(pick, proposals, self.belief, self.held, self.round)
        logs = [scores.log_softmax(dim=1) for scores in scored]
        entropy = sum(-(each.exp() * each).sum(dim=1) for each in logs)
        joint = sum((each * one_hot(place, each.shape[1])).sum(dim=1) for each, place in zip(logs, picked, strict=True))
        assert isinstance(entropy, Tensor)
        assert isinstance(joint, Tensor)
        return torch.stack(picked, dim=1), joint, entropy

    def situation(self) -> Tensor:
        """What the critic sees, (N, R + 4): round, expected similarity of what is held, and how sure the belief is."""
        belief = self.belief
        expected, best = (belief * self.held).sum(dim=1), (belief[:, None] * self.alike).sum(dim=2).amax(dim=1)
        surprise = -(belief * (belief + 1e-8).log()).sum(dim=1) / 5
        return torch.cat([self.round, torch.stack([expected, best, surprise], dim=1)], dim=1)


def one_hot(places: Tensor, size: int) -> Tensor:
    """Float (N, size) of int64 (N,)."""
    return torch.eye(size)[places]


class ProposerPolicy(ActorCriticPolicy):
    """Actor and critic around a :class:`Proposer`.

    The actor draws each proposal from the softmax of its scores. The critic sees :meth:`Turn.situation`.

    Args:
        observation_space, action_space, lr_schedule: as for every policy of Stable-Baselines3.
        warm_start: makes the proposer to begin with.
        parts: names and shapes of the observations, in the order in which they are joined.
        further: of the base class.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        warm_start: Callable[[], Proposer],
        parts: Mapping[str, Sequence[int]],
        **further: Any,
    ) -> None:
        self._warm_start, self._seen_parts = warm_start, dict(parts)
        self._proposals = action_space.shape[0]
        super().__init__(observation_space, action_space, lr_schedule, **further)

    def _build(self, lr_schedule: Schedule) -> None:
        self.proposer = self._warm_start()
        # Rewards of thousands of episodes say too little about a hundred thousand weights: they drift.
        for weights in self.proposer.knowledge():
            weights.requires_grad_(False)
        shape = self.proposer.shape
        self.critic = nn.Sequential(nn.Linear(shape.rounds + 4 + shape.width, 64), nn.Tanh(), nn.Linear(64, 1))
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _turn(self, observation: Tensor) -> Turn:
        sizes = [prod(shape) for shape in self._seen_parts.values()]
        values = observation.float().split(sizes, dim=1)
        seen = {
            name: value.reshape(-1, *shape)
            for (name, shape), value in zip(self._seen_parts.items(), values, strict=True)
        }
        return Turn(self.proposer, seen)

    def _value(self, turn: Turn) -> Tensor:
        return self.critic(torch.cat([turn.situation(), turn.prompt], dim=1).detach())

    def _actions(self, places: Tensor) -> Tensor:
        """Places (N, K) → actions (N, K, 1 + d)."""
        return self.proposer.offers()[places]

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (N, K, 1 + d), values (N, 1) and log-probabilities (N,)."""
        turn = self._turn(obs)
        places, logs, _ = turn.offer(greedily if deterministic else drawn, self._proposals)
        return self._actions(places), self._value(turn), logs

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (N, 1), log-probabilities (N,) and entropies (N,) of actions that were drawn."""
        turn, offers = self._turn(obs), self.proposer.offers()
        actions = actions.reshape(len(actions), self._proposals, -1)
        places = (2 * actions @ offers.T - offers.square().sum(dim=1)).argmax(dim=2)
        _, logs, entropies = turn.offer(lambda number, scores: places[:, number], self._proposals)
        return self._value(turn), logs, entropies

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        places, _, _ = self._turn(observation).offer(greedily if deterministic else drawn, self._proposals)
        return self._actions(places)

    def predict_values(self, obs: Any) -> Tensor:
        """Values (N, 1)."""
        return self._value(self._turn(obs))


def greedily(number: int, scores: Tensor) -> Tensor:
    """The first of the highest scores."""
    return scores.argmax(dim=1)


def drawn(number: int, scores: Tensor) -> Tensor:
    """By the softmax of the scores."""
    return torch.multinomial(scores.softmax(dim=1), 1)[:, 0]
