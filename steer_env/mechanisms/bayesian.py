"""A goal-blind mechanism that learns within the episode: Bayesian inference on what the user is after."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from steer_env.mechanisms.hypotheses import Hypotheses
from steer_env.mechanisms.options import BayesianOptions
from steer_env.ties import first_best_of
from steer_env.types import Conditioning, Metric, SteeringHistory, Studio


class BayesianSteering:
    """Offers the images that are expected to be of most use, given the choices so far.

    A pool of images made for the user's own prompt serves twice: as candidates to offer, and as hypotheses about the
    goal, all equally likely at first. A user who is after hypothesis h picks image i with probability
    ∝ exp(similarity(i, h) / temperature); each choice reweights the hypotheses accordingly. Each round offers K
    candidates, chosen one after the other, that maximise the expected similarity of the best image on the screen to
    the goal. The goal itself is never seen, and mixture scales have no influence.

    Beyond the images that are shown it costs a pool of images an episode, or of previews: with ``preview_steps`` the
    pool is embedded from as few denoiser passes an image, without guidance, and only what is shown is made in full.
    Beliefs compare what was shown, as it is, with hypotheses as they were previewed.

    Args:
        studio: makes the pool; with ``preview_steps``, its generator is a :class:`steer_env.types.PreviewingGenerator`.
        metric: compares images; by default the environment gives the one that its user chooses by.
        options: pool, temperature of the assumed user and more.
        hypotheses: makes the pools, for mechanisms that share them; it must know the metric.

    Raises:
        ValueError: previews that the generator can't make.
    """

    def __init__(
        self, studio: Studio, metric: Metric, options: BayesianOptions, hypotheses: Hypotheses | None = None
    ) -> None:
        self._hypotheses = hypotheses or Hypotheses(studio, [metric])
        self.pool = self.most_proposals = pool = options.pool
        self.temperature, self.metric, self.ahead = options.temperature, metric, options.ahead
        self._preview_steps = preview = options.preview_steps
        made = pool * self._hypotheses.passes(preview)
        self.extra_images, self.extra_passes = (0, float(made)) if preview else (pool, 0.0)
        extras = [f"-{name}{value}" for name, value in (("preview", preview), ("ahead", self.ahead)) if value]
        self.id = f"bayesian-{pool}-{self.temperature:g}{''.join(extras)}-{metric.id}"
        self._guessed = bool(preview)
        self._latents = self._embeddings = self._likeness = self._evidence = self._shown = torch.empty(0)

    @property
    def memory(self) -> list[Tensor]:
        """See :class:`steer_env.types.RememberingMechanism`."""
        return [self._evidence, self._shown]

    @torch.inference_mode()
    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.Mechanism`; neither scales nor noise are used."""
        where = torch.from_numpy(history.rows).to(latents.device)
        self._reserve(int(history.rows.max()) + 1, latents)
        fresh, later = np.flatnonzero(history.rounds == 0), np.flatnonzero(history.rounds > 0)
        if len(fresh):
            seeds = [history.seeds[int(i)] for i in fresh]
            self._begin(where[fresh], latents[fresh], seeds, history.conditioning, fresh)
        if len(later):
            last = torch.from_numpy(history.rounds[later] - 1).to(latents.device)
            episodes = torch.from_numpy(later).to(latents.device)
            self._learn(where[later], history.embeddings[episodes, last], history.choices[episodes, last])
        now = torch.from_numpy(history.rounds).to(latents.device)
        current = history.embeddings[torch.arange(len(where), device=where.device), now, 0]
        best = self._compare(where, current[:, None])[:, 0]
        # One episode after the other: all at once would take several times the memory of all likenesses.
        ahead = self.ahead * (history.rounds < history.choices.shape[1] - 1)
        picked = torch.stack(
            [
                self._pick(place, row, noise.shape[1], int(short))
                for place, row, short in zip(where.tolist(), best, ahead, strict=True)
            ]
        )
        # An image that was made is known better than it was guessed: whether it is of use was seen when it was shown.
        if self._guessed:
            self._shown[where[:, None], picked] = torch.inf
        return self._latents[where[:, None], picked]

    def _reserve(self, rows: int, latents: Tensor) -> None:
        """Room for as many episodes: latents (N, P, …), embeddings (N, P, D), likeness (N, P, P), the rest (N, P)."""
        p, before = self.pool, len(self._evidence)
        if before >= rows:
            return

        def grown(old: Tensor, *shape: int) -> Tensor:
            new = torch.zeros(rows, *shape, device=latents.device)
            new[:before] = old if before else 0
            return new

        self._latents = grown(self._latents, p, *latents.shape[1:])
        self._embeddings = grown(self._embeddings, p, self.metric.dimensions)
        self._likeness, self._evidence = grown(self._likeness, p, p), grown(self._evidence, p)
        self._shown = grown(self._shown, p)

    def _begin(
        self, where: Tensor, latents: Tensor, seeds: list[int], conditioning: Conditioning, rows: np.ndarray
    ) -> None:
        """Make the pools of new episodes, and compare all images with all hypotheses."""
        pool, embeddings = self._imagine(latents, seeds, conditioning, rows)
        self._latents[where], self._embeddings[where] = pool, embeddings
        likeness = self._compare(where, embeddings)
        likeness.diagonal(dim1=1, dim2=2).fill_(1)  # Whatever is known of an image, it is itself.
        self._likeness[where], self._evidence[where], self._shown[where] = likeness, 0.0, 0.0

    def _imagine(
        self, latents: Tensor, seeds: list[int], conditioning: Conditioning, rows: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Pools of n episodes (n, P, *latent_shape), and how the metric sees them (n, P, D)."""
        pool, embedded = self._hypotheses.make(latents, seeds, self.pool, conditioning, rows, self._preview_steps)
        return pool, embedded[self.metric.id]

    def _compare(self, where: Tensor, embeddings: Tensor) -> Tensor:
        """Similarity (n, M, P) of images (n, M, D) to each hypothesis."""
        # One hypothesis after the other: all at once would be M times P embeddings an episode.
        hypotheses = self._embeddings[where][:, :, None].unbind(1)
        return torch.stack([self.metric.similarity(embeddings, each) for each in hypotheses], dim=2)

    def _learn(self, where: Tensor, screen: Tensor, choices: Tensor) -> None:
        """Bayes' rule: how likely was the choice (n,) among what was shown (n, 1 + K, D) under each hypothesis?"""
        likely = torch.log_softmax(self._compare(where, screen) / self.temperature, dim=1)
        self._evidence[where] += likely[torch.arange(len(where), device=where.device), choices]

    def _pick(self, place: int, held: Tensor, proposals: int, ahead: int) -> Tensor:
        """Places in the pool (K,) of the candidates that add most to what is held, whose likeness is (P,)."""
        belief, likeness, picked = self._evidence[place].softmax(dim=0), self._likeness[place], []
        screen = held[None]
        for _ in range(proposals):
            worth = (torch.maximum(likeness, screen.amax(dim=0)) * belief).sum(dim=1) - self._shown[place]
            if ahead:
                short = worth.topk(min(ahead, self.pool)).indices
                later = self._worth_later(screen, likeness[short], likeness, belief)
                candidate = short[first_best_of(later - self._shown[place, short])]
            else:
                candidate = first_best_of(worth)
            picked.append(candidate)
            screen = torch.cat([screen, likeness[candidate, None]])
        return torch.stack(picked)

    def _worth_later(self, screen: Tensor, offers: Tensor, likeness: Tensor, belief: Tensor) -> Tensor:
        """Worth (A,) of offers (A, P), each beside the screen (M, P), once the user has picked and sees one more.

        That is the expected similarity of the best image.
        """
        beside = torch.cat([screen.expand(len(offers), -1, -1), offers[:, None]], dim=1)
        # Likely answers: (A, M + 1, P), what the answer leaves of the belief.
        left = torch.softmax(beside / self.temperature, dim=1) * belief
        kept = [torch.maximum(likeness, own) @ each.mT for own, each in zip(screen, left.unbind(1), strict=False)]
        accepted = [torch.maximum(likeness, own) @ each for own, each in zip(offers, left[:, -1], strict=True)]
        return torch.stack([*kept, torch.stack(accepted, dim=1)]).amax(dim=1).sum(dim=0)
