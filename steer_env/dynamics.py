"""The steering dynamics: N episodes at once, on the generator's device."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from steer_env.compatibility import usual_defaults
from steer_env.limits import whole
from steer_env.mechanisms.mixtures import Mixture
from steer_env.proposals import check_directions, check_scales, draw_latents
from steer_env.types import (
    Alignment,
    ComparingMechanism,
    Conditioning,
    DirectedMechanism,
    Generator,
    GuidedGenerator,
    Human,
    Mechanism,
    Metric,
    RememberingMechanism,
    RoundOutcome,
    SteeringHistory,
    Studio,
    Task,
    passes,
)

MOST = 1000
"""Rounds of an episode, and proposals of a round."""
_NOISE_STREAM, _PERSON_STREAM = 0x51EE, 0x9E50


@dataclass(frozen=True)
class Offer:
    """What n episodes have on the screen in a round, until their users choose.

    Args:
        rows: int64 (n,), the episodes' places in the batch.
        similarities: float (n, 1 + P), to the goal: the current image, then the proposals.
        draws: float (n, 1 + P), uniform in (0, 1), for simulated users.
        proposals: float (n, P, *latent_shape).
        candidates: by name of each metric, float (n, 1 + P, D), embeddings in the order of ``similarities``.
        fresh: bool (n, P), which proposals took an image of their own.
        shown: uint8 (n, 1 + P, 3, H, W), the images in that order; None unless images are kept.
        conditioning: n rows.
        scales: float (n,), mixture scales; None in text steering, and where actions are others.
        prompts: n new prompts, in text steering.
        actions, decided: as in :class:`steer_env.types.RoundOutcome`.
    """

    rows: np.ndarray
    similarities: Tensor
    draws: Tensor
    proposals: Tensor
    candidates: dict[str, Tensor]
    fresh: Tensor
    shown: Tensor | None
    conditioning: Conditioning
    scales: np.ndarray | None = None
    prompts: Sequence[str] | None = None
    actions: np.ndarray | None = None
    decided: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, place: int) -> Offer:
        """One episode's, by its place among the n."""
        one = slice(place, place + 1)
        values: dict[str, Any] = {
            name: None if v is None else v[one] for name, v in vars(self).items() if name not in _NAMED
        }
        values |= {name: {k: v[one] for k, v in getattr(self, name).items()} for name in _NAMED}
        return Offer(**values)


_NAMED = ("candidates", "conditioning")


class SteeringDynamics:
    """What happens when simulated users steer (paper, section 5 and C.2).

    In image steering (:meth:`step`) the user chooses among proposals, in text steering (:meth:`rewrite`) the user
    writes prompts. An episode's course depends on its task, its seed and its mixture scales or prompts alone: not on
    its neighbours in the batch, on the size of the batch, or on how the studio splits it. Every image is generated once
    and embedded once.

    Args:
        studio: makes and embeds images. Its metric judges similarity, for the human and for the reward; its further
            metrics measure the kept image, and nothing is optimised for them: an :class:`steer_env.types.Alignment`
            compares it with its prompt, the others compare it with the goal.
        human: chooses.
        num_episodes: N.
        rounds: R, rounds an episode.
        proposals: K, proposals a round of image steering.
        mechanism: how proposals are drawn; the paper's mixture by default.
        keep_images: keep the images of the current round (uint8, in main memory) for drawing and for policies.
    """

    def __init__(
        self,
        studio: Studio,
        human: Human,
        num_episodes: int,
        rounds: int = 4,
        proposals: int = 2,
        mechanism: Mechanism | None = None,
        keep_images: bool = False,
    ) -> None:
        num_episodes = whole("num_episodes", num_episodes, 1)
        rounds, proposals = whole("rounds", rounds, 1, MOST), whole("proposals", proposals, 1, MOST)
        self.studio, self.human = studio, human
        self.num_episodes, self.num_rounds, self.num_proposals = num_episodes, rounds, proposals
        self.mechanism = mechanism or Mixture()
        most = getattr(self.mechanism, "most_proposals", proposals)
        if proposals > most:
            raise ValueError(f"{self.mechanism.id} chooses among {most} images: proposals can't be {proposals}")
        self._metrics, self._keep_images = dict(studio.metrics), keep_images
        self._seen = self._share(self.mechanism)
        self.tasks: list[Task | None] = [None] * num_episodes
        self.prompts = [""] * num_episodes
        self.rounds = np.full(num_episodes, -1)
        self.stayed = np.zeros(num_episodes, dtype=bool)
        self.initial_similarity = np.zeros(num_episodes)
        self.similarity = np.zeros(num_episodes)
        self.seeds = [0] * num_episodes
        self._made = np.zeros(num_episodes, dtype=np.int64)
        self._noise = [torch.Generator() for _ in range(num_episodes)]
        self._allocate()

    def _share(self, mechanism: Mechanism) -> str:
        """Name of the metric whose embeddings the mechanism sees; a metric of its own embeds every image, too."""
        if not isinstance(mechanism, ComparingMechanism):
            return ""
        name = self.studio.name_of(mechanism.metric)
        self._metrics[name] = mechanism.metric
        return name

    @usual_defaults()
    def _allocate(self) -> None:
        n, r, k, shape = self.num_episodes, self.num_rounds, self.num_proposals, self.generator.latent_shape
        device = self.generator.device
        self.latents = torch.zeros(n, *shape, device=device)
        self._persons = torch.zeros(n, device=device)
        self._past_proposals = torch.zeros(n, r, k, *shape, device=device)
        self._past_choices = torch.zeros(n, r, dtype=torch.int64, device=device)
        self._screens = {
            name: torch.zeros(n, r, 1 + k, self._metrics[name].dimensions, device=device)
            for name in dict.fromkeys(["", self._seen])
        }
        self._conditioning: dict[str, Tensor] = {}
        self._current = {
            name: torch.zeros(n, metric.dimensions, device=device) for name, metric in self._metrics.items()
        }
        self._targets = {name: torch.zeros_like(embeddings) for name, embeddings in self._current.items()}
        images = (n, *self.generator.image_shape) if self._keep_images else (0,)
        self.images = np.zeros(images, dtype=np.uint8)
        self.goal_images = np.zeros(images, dtype=np.uint8)

    @property
    def generator(self) -> Generator:
        """What the studio's images come from."""
        return self.studio.generator

    @property
    def metric(self) -> Metric:
        """What judges similarity."""
        return self.studio.metric

    @property
    def embeddings(self) -> Tensor:
        """Float (N, D), of the current images under the metric."""
        return self._current[""]

    @property
    def prompt_vectors(self) -> Tensor:
        """Float (N, P), of the current prompts: what the generator made of them, its tensors' means over tokens."""
        return pooled(self._conditioning)

    def history(self) -> dict[str, Tensor]:
        """What happened before, as users saw it; zero in rounds that aren't played yet.

        Returns:
            ``shown``, float (N, R, 1 + K, D), embeddings of what was on the screen, the current image first;
            ``chosen``, float (N, R, 1 + K), 1 for the image that the user went on with; ``played``, float (N, R).
        """
        rounds = torch.arange(self.num_rounds, device=self.latents.device)
        played = (rounds < torch.from_numpy(self.rounds).to(rounds.device)[:, None]).float()
        chosen = one_hot(self._past_choices, 1 + self.num_proposals) * played[..., None]
        return {"shown": self._screens[""] * played[..., None, None], "chosen": chosen, "played": played}

    @property
    def images_made(self) -> np.ndarray:
        """int64 (N,), images that each episode took so far: goal, first image, what was shown, and the mechanism's own.

        What the mechanism makes beyond those shown counts from the start, as it states it. Images that episodes share
        count in each.
        """
        return self._made + self.mechanism.extra_images

    @property
    def passes_made(self) -> np.ndarray:
        """float64 (N,), denoiser passes that each episode took so far: its images', and its mechanism's previews'."""
        extra = self.mechanism.extra_passes if isinstance(self.mechanism, ComparingMechanism) else 0.0
        return self.images_made * passes(self.studio.generator) + extra

    def judged(self, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """By name of each judge, float64 (n,): similarity of the current images to their goals, or to their prompts."""
        rows = self._rows(rows)
        where = self._where(rows)
        return {
            name: metric.similarity(self._current[name][where], self._targets[name][where]).cpu().double().numpy()
            for name, metric in self.studio.metrics.items()
            if name
        }

    @usual_defaults()
    @torch.inference_mode()
    def reset(self, tasks: Sequence[Task], seeds: Sequence[int], rows: np.ndarray | None = None) -> None:
        """Start episodes: make goal and initial images, each distinct one once, or find them in the bank.

        Args:
            tasks: one a row.
            seeds: of each episode's noise, of its user's draws and of who the user is.
            rows: int64 (n,), which places of the batch to start; all by default.

        Raises:
            ValueError: as many tasks or seeds are needed as rows; a negative seed.
        """
        rows = self._rows(rows)
        if not len(tasks) == len(seeds) == len(rows):
            raise ValueError(f"{len(rows)} episodes need as many tasks and seeds, got {len(tasks)} and {len(seeds)}")
        if min(seeds) < 0:
            raise ValueError(f"seeds of episodes are non-negative integers, got {min(seeds)}")
        where = self._where(rows)
        pictures = [(task.goal_prompt, task.goal_seed) for task in tasks]
        pictures += [(task.prompt, task.initial_seed) for task in tasks]
        place = {picture: i for i, picture in enumerate(dict.fromkeys(pictures))}
        latents, conditioning = self.studio.prepare(list(place))
        embeddings, images = self.studio.picture(
            latents,
            conditioning,
            f"resetting tasks {_names(tasks)}",
            keep_images=self._keep_images,
            metrics=list(self._metrics),
            pictures=list(place),
        )
        index = torch.tensor([place[picture] for picture in pictures]).to(self.latents.device)
        goal, initial = index.chunk(2)
        self.latents[where] = latents[initial]
        for name, values in embeddings.items():
            self._targets[name][where], self._current[name][where] = values[goal], values[initial]
        self._condition(rows, [task.prompt for task in tasks], {k: v[initial] for k, v in conditioning.items()})
        if images is not None:
            self.goal_images[rows], self.images[rows] = images[goal.cpu()], images[initial.cpu()]
        for past in (self._past_proposals, self._past_choices, *self._screens.values()):
            past[where] = 0
        self._begin(rows, tasks, seeds, where)

    def _begin(self, rows: np.ndarray, tasks: Sequence[Task], seeds: Sequence[int], where: Tensor) -> None:
        similarity = self.metric.similarity(self._current[""][where], self._targets[""][where])
        self.similarity[rows] = self.initial_similarity[rows] = similarity.cpu().double().numpy()
        self.rounds[rows], self.stayed[rows], self._made[rows] = 0, False, 2
        for row, task, seed in zip(rows, tasks, seeds, strict=True):
            self.tasks[row], self.seeds[row] = task, int(seed)
            # A stream of its own: the same integer may also have seeded the initial latent.
            stream = np.random.SeedSequence([int(seed), _NOISE_STREAM]).generate_state(1, np.uint64)[0]
            self._noise[row].manual_seed(int(stream >> np.uint64(1)))
        persons = [np.random.default_rng([int(seed), _PERSON_STREAM]).random() for seed in seeds]
        self._persons[where] = self._persons.new_tensor(persons)

    @usual_defaults()
    @torch.inference_mode()
    def step(self, actions: np.ndarray, rows: np.ndarray | None = None) -> RoundOutcome:
        """Play one round of image steering: propose, let the user choose, go on from the choice.

        Args and errors: as for :meth:`propose`.
        """
        return self._let_choose(self.propose(actions, rows))

    @usual_defaults()
    @torch.inference_mode()
    def propose(self, actions: np.ndarray, rows: np.ndarray | None = None) -> Offer:
        """The first half of a round of image steering, for users who choose in their own time; :meth:`take` goes on.

        Args:
            actions: float (n,), mixture scales in [0, 1]; or float (n, K, …) in [−1, 1], what a
                :class:`steer_env.types.DirectedMechanism` takes instead.
            rows: int64 (n,), which places of the batch play; all by default.

        Raises:
            RuntimeError: an episode that has not started, or is over.
            ValueError: an action out of range, or a batch of the wrong size.
            FloatingPointError: latents or embeddings that aren't finite, with the round and the tasks.
        """
        rows, mechanism = self._rows(rows), self.mechanism
        if isinstance(mechanism, DirectedMechanism):
            actions = check_directions(actions)
            self._check_playable(rows, actions.shape, "actions", mechanism.action_shape(self.num_proposals))
            decided = mechanism.decided(torch.from_numpy(actions)).double().numpy()
            acted = {"actions": actions, "decided": decided}
        else:
            actions = check_scales(actions)
            self._check_playable(rows, actions.shape, "mixture scales")
            acted = {"scales": actions}
        conditioning = {name: values[self._where(rows)] for name, values in self._conditioning.items()}
        noise, draws = self._draw(rows, self.num_proposals)
        proposals = self._propose(rows, actions, conditioning, noise)
        # A proposal that is the held latent (scale 0) shows the held image: rounding would else decide between the two.
        fresh = (proposals != self.latents[self._where(rows)][:, None]).flatten(2).any(dim=2)
        return self._offer(rows, proposals, conditioning, draws, fresh, **acted)

    @usual_defaults()
    @torch.inference_mode()
    def take(self, offer: Offer, choices: Tensor) -> RoundOutcome:
        """The second half of a round: go on from the choices.

        Args:
            offer: of the round that these episodes are in.
            choices: int64 (n,), 0 to keep the current image, k to take proposal k.
        """
        rows, where, rounds = offer.rows, self._where(offer.rows), self.rounds[offer.rows] + 1
        self._move(where, rows, choices, offer.candidates, offer.proposals)
        picked = choices.cpu().numpy()
        if offer.shown is not None:
            self.images[rows] = offer.shown.numpy()[np.arange(len(rows)), picked]
        if offer.prompts is not None and picked.any():
            changed = np.flatnonzero(picked)
            written = [prompt for prompt, choice in zip(offer.prompts, picked, strict=True) if choice]
            self._condition(rows[changed], written, {k: v[changed] for k, v in offer.conditioning.items()})
        similarities = offer.similarities.cpu().double().numpy()
        self.similarity[rows] = similarities[np.arange(len(rows)), picked]
        self.stayed[rows], self.rounds[rows] = picked == 0, rounds
        self._made[rows] += offer.fresh.cpu().sum(dim=1).numpy()
        shown = None if offer.shown is None else offer.shown.numpy()
        return RoundOutcome(
            *(rows, rounds, similarities, picked, self.similarity[rows], offer.scales, self.judged(rows), shown),
            actions=offer.actions,
            decided=offer.decided,
        )

    @torch.inference_mode()
    def snapshot(self, row: int) -> list[Any]:
        """All that one episode is, for :meth:`restore`."""
        values = [state[row] for state in self._states()]
        return [self._noise[row].get_state(), *(v.clone() if isinstance(v, Tensor) else copy(v) for v in values)]

    @torch.inference_mode()
    def restore(self, row: int, snapshot: Sequence[Any]) -> None:
        """Go back, or on, to another moment of the episode in this place."""
        self._noise[row].set_state(snapshot[0])
        for state, value in zip(self._states(), snapshot[1:], strict=True):
            state[row] = value

    def _states(self) -> list[Any]:
        """What has a row an episode."""
        named = [self._screens, self._conditioning, self._current, self._targets]
        facts = [self.tasks, self.prompts, self.rounds, self.stayed, self.seeds, self._made, self._persons]
        similarities, past = [self.initial_similarity, self.similarity], [self._past_proposals, self._past_choices]
        images = [self.images, self.goal_images] if self._keep_images else []
        memory = self.mechanism.memory if isinstance(self.mechanism, RememberingMechanism) else []
        values = [v for each in named for v in each.values()]
        return [*values, self.latents, *facts, *similarities, *past, *images, *memory]

    def judge(self, offer: Offer) -> dict[str, np.ndarray]:
        """By name of each judge, float64 (n, 1 + P): what :meth:`judged` would be after each choice.

        A judge that compares images with their prompts has those of a new prompt only once it is taken.
        """
        where = self._where(offer.rows)
        return {
            name: metric.similarity(offer.candidates[name], self._targets[name][where][:, None]).cpu().double().numpy()
            for name, metric in self.studio.metrics.items()
            if name
        }

    def _let_choose(self, offer: Offer) -> RoundOutcome:
        """Go on from what the simulated user chooses."""
        choices = self.human.choose(offer.similarities, offer.draws, self._persons[self._where(offer.rows)])
        return self.take(offer, choices)

    @usual_defaults()
    @torch.inference_mode()
    def rewrite(
        self,
        prompts: Sequence[str],
        rows: np.ndarray | None = None,
        seeds: Sequence[int] | None = None,
        guidance: Sequence[float] | None = None,
    ) -> RoundOutcome:
        """Play one attempt of text steering (paper, section 3): the image of a new prompt, from a fresh latent.

        The user goes on from the new image and its prompt wherever ``human`` takes it, which a
        :class:`steer_env.humans.choosers.NewestImageHuman` always does.

        Args:
            prompts: n, one a row.
            rows: int64 (n,), which places of the batch play; all by default.
            seeds: n, of the latents; by default they come from each episode's own noise.
            guidance: n guidance scales; by default the generator's own.

        Raises:
            RuntimeError, FloatingPointError: as in :meth:`step`.
            ValueError: a prompt that isn't a string, a batch of the wrong size, or guidance for a generator that isn't
                a :class:`steer_env.types.GuidedGenerator`.
        """
        rows = self._rows(rows)
        self._check_playable(rows, np.shape(prompts), "prompts")
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise ValueError(f"prompts are strings, got {prompt!r}")
        conditioning = self._encode(prompts, guidance)
        latents, draws = self._draw(rows, 1)
        if seeds is not None:
            latents = draw_latents(list(seeds), self.generator.latent_shape).to(latents.device)[:, None]
        fresh = latents.new_ones(len(rows), 1, dtype=torch.bool)
        outcome = self._let_choose(self._offer(rows, latents, conditioning, draws, fresh, prompts=prompts))
        return replace(outcome, prompts=prompts, seeds=seeds, guidance=guidance)

    def _encode(self, prompts: Sequence[str], guidance: Sequence[float] | None) -> Conditioning:
        if guidance is None:
            return self.generator.encode(prompts)
        if not isinstance(self.generator, GuidedGenerator):
            raise ValueError(f"generator {self.generator.id} has no guidance scale to choose")
        return self.generator.encode_guided(prompts, guidance)

    def _offer(
        self, rows: np.ndarray, proposals: Tensor, conditioning: Conditioning, draws: Tensor, fresh: Tensor, **led: Any
    ) -> Offer:
        """Make the images of the fresh (n, P) ones of proposals (n, P, *latent_shape); ``led`` is what led to them.

        Where proposals come of new prompts (n), P is 1, and who takes one goes on with its prompt.
        """
        where, rounds = self._where(rows), self.rounds[rows] + 1
        place = f"round {rounds.min()} of tasks {_names([self.tasks[row] for row in rows])}"
        owners = fresh.nonzero()[:, 0]
        offered, images = self.studio.picture(
            proposals[fresh], conditioning, place, owners, self._keep_images, list(self._metrics)
        )
        candidates = {name: _beside(self._current[name][where], fresh, values) for name, values in offered.items()}
        similarities = self.metric.similarity(candidates[""], self._targets[""][where][:, None])
        shown = None if images is None else _beside(torch.from_numpy(self.images[rows]), fresh.cpu(), images)
        return Offer(rows, similarities, draws, proposals, candidates, fresh, shown, conditioning, **led)

    def _rows(self, rows: np.ndarray | None) -> np.ndarray:
        return np.arange(self.num_episodes) if rows is None else np.asarray(rows, dtype=np.int64)

    def _where(self, rows: np.ndarray) -> Tensor:
        """The rows, to index tensors with."""
        return torch.from_numpy(rows).to(self.latents.device)

    def _condition(self, rows: np.ndarray, prompts: Sequence[str], conditioning: Conditioning) -> None:
        """Go on with these prompts, one a row."""
        for name, values in conditioning.items():
            if name not in self._conditioning:
                self._conditioning[name] = values.new_zeros(self.num_episodes, *values.shape[1:])
            self._conditioning[name][self._where(rows)] = values
        for row, prompt in zip(rows, prompts, strict=True):
            self.prompts[row] = prompt
        for name, metric in self._metrics.items():
            if isinstance(metric, Alignment):
                self._targets[name][self._where(rows)] = metric.embed_prompts(prompts).to(self.latents.device)

    def _check_playable(
        self, rows: np.ndarray, shape: tuple[int, ...], actions: str, single: tuple[int, ...] = ()
    ) -> None:
        if shape != (*rows.shape, *single):
            each = f" of {single}" if single else ""
            raise ValueError(f"{len(rows)} episodes need {len(rows)} {actions}{each}, got an array of {shape}")
        if (self.rounds[rows] < 0).any():
            raise RuntimeError("call reset before step: an episode has not started")
        if (self.rounds[rows] >= self.num_rounds).any():
            raise RuntimeError(f"an episode is over after {self.num_rounds} rounds: call reset before the next step")

    def _draw(self, rows: np.ndarray, k: int) -> tuple[Tensor, Tensor]:
        """From each episode's own stream: standard normal (n, k, *latent_shape), uniform (n, 1 + k) for its user."""
        noise = torch.empty(len(rows), k, *self.generator.latent_shape)
        draws = torch.empty(len(rows), 1 + k)
        for i, row in enumerate(rows):
            torch.randn(noise.shape[1:], generator=self._noise[row], out=noise[i])
            torch.rand(1 + k, generator=self._noise[row], out=draws[i])
        return noise.to(self.latents.device), draws.to(self.latents.device)

    def _propose(self, rows: np.ndarray, actions: np.ndarray, conditioning: Conditioning, noise: Tensor) -> Tensor:
        """Latents of the proposals (n, K, *latent_shape)."""
        where, seeds = self._where(rows), [self.seeds[row] for row in rows]
        screens = self._screens[self._seen]
        screens[where, self._where(self.rounds[rows]), 0] = self._current[self._seen][where]
        past = self._past_proposals[where], self._past_choices[where], screens[where]
        history = SteeringHistory(rows, self.rounds[rows], seeds, conditioning, *past)
        return self.mechanism.propose(self.latents[where], torch.from_numpy(actions).to(noise.device), noise, history)

    def _move(
        self, where: Tensor, rows: np.ndarray, choices: Tensor, candidates: dict[str, Tensor], proposals: Tensor
    ) -> None:
        """Go on from the chosen image, and remember the round."""
        n = torch.arange(len(rows), device=choices.device)
        latents = torch.cat([self.latents[where][:, None], proposals], dim=1)
        self.latents[where] = latents[n, choices]
        for name, values in candidates.items():
            self._current[name][where] = values[n, choices]
        played = torch.from_numpy(self.rounds[rows]).to(where.device)
        self._past_proposals[where, played, : proposals.shape[1]] = proposals
        self._past_choices[where, played] = choices
        for name, screens in self._screens.items():
            screens[where, played, : 1 + proposals.shape[1]] = candidates[name]


def _beside(held: Tensor, fresh: Tensor, made: Tensor) -> Tensor:
    """(n, 1 + P, ...): what is held (n, ...), then each proposal's own where it is among the fresh ones (n, P)."""
    candidates = torch.stack([held] * (1 + fresh.shape[1]), dim=1)
    candidates[:, 1:][fresh] = made
    return candidates


def pooled(conditioning: Conditioning) -> Tensor:
    """Float (N, P): means over all but the first and the last dimension, joined in the order of their names.

    What guidance needs beside the prompt is left out: it is the same for all prompts.
    """
    own = [values.float() for name, values in sorted(conditioning.items()) if not name.startswith("negative_")]
    return torch.cat([part.reshape(len(part), -1, part.shape[-1]).mean(dim=1) for part in own], dim=1)


def _names(tasks: Sequence[Task | None]) -> str:
    names = [f"{task.suite}[{task.index}]" for task in tasks if task]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
