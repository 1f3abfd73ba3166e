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

    It costs ``pool`` + 1 images an episode beyond those that are shown.

    Args:
        studio: makes the pool.
        metric: compares images; by default the environment gives the one that its user chooses by.
        pool, temperature: see :class:`steer_env.mechanisms.options.BayesianOptions`.
        hypotheses: makes the pools, for mechanisms that share them; it must know the metric.

    Raises:
        ValueError: a pool of fewer than two images, or a temperature that isn't positive.
    """

    def __init__(
        self,
        studio: Studio,
        metric: Metric,
        pool: int = BayesianOptions.pool,
        temperature: float = BayesianOptions.temperature,
        hypotheses: Hypotheses | None = None,
    ) -> None:
        if pool < 2:
            raise ValueError(f"pool must be at least 2, got {pool}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self._hypotheses, self._metric = hypotheses or Hypotheses(studio, [metric]), metric
        self.pool, self.temperature = pool, temperature
        self.extra_images = pool + 1
        self.id = f"bayesian-{pool}-{temperature:g}-{metric.id}"
        self._latents = self._likeness = self._held = self._evidence = torch.empty(0)
        self._offered = torch.empty(0, dtype=torch.int64)

    @torch.inference_mode()
    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """See :class:`steer_env.types.Mechanism`; neither scales nor noise are used."""
        where = torch.from_numpy(history.rows).to(latents.device)
        self._reserve(int(history.rows.max()) + 1, latents, noise.shape[1])
        fresh = np.flatnonzero(history.rounds == 0)
        if len(fresh):
            self._begin(
                where[fresh], latents[fresh], [history.seeds[int(i)] for i in fresh], history.conditioning, fresh
            )
        later = np.flatnonzero(history.rounds > 0)
        if len(later):
            last = torch.from_numpy(history.rounds[later] - 1).to(latents.device)
            self._learn(where[later], history.choices[torch.from_numpy(later).to(last.device), last])
        return self._offer(where, noise.shape[1])

    def _reserve(self, rows: int, latents: Tensor, proposals: int) -> None:
        """Room for as many episodes: latents (N, P, …), likeness (N, P, P), likeness of the image held (N, P), …"""
        if len(self._evidence) >= rows:
            return
        p, before = self.pool, len(self._evidence)

        def grown(old: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            new = torch.zeros(rows, *shape, dtype=dtype, device=latents.device)
            new[:before] = old if before else 0
            return new

        self._latents = grown(self._latents, p, *latents.shape[1:])
        self._likeness = grown(self._likeness, p, p)
        self._held, self._evidence = grown(self._held, p), grown(self._evidence, p)
        self._offered = grown(self._offered, proposals, dtype=torch.int64)

    def _begin(
        self, where: Tensor, latents: Tensor, seeds: list[int], conditioning: Conditioning, rows: np.ndarray
    ) -> None:
        """Make the pools of new episodes, and compare all images with all hypotheses."""
        pool, found = self._hypotheses.make(latents, seeds, self.pool, conditioning, rows)
        embeddings = found[self._metric.id]
        # One hypothesis after the other: all at once would be p² embeddings an episode.
        hypotheses = embeddings[:, 1:, None].unbind(1)
        likeness = torch.stack([self._metric.similarity(embeddings, each) for each in hypotheses], dim=2)
        self._latents[where], self._evidence[where] = pool, 0.0
        self._held[where], self._likeness[where] = likeness[:, 0], likeness[:, 1:]

    def _learn(self, where: Tensor, choices: Tensor) -> None:
        """Bayes' rule: how likely was the choice (n,) under each hypothesis?"""
        n = torch.arange(len(where), device=where.device)
        offered = self._likeness[where[:, None], self._offered[where]]
        shown = torch.cat([self._held[where][:, None], offered], dim=1)
        self._evidence[where] += torch.log_softmax(shown / self.temperature, dim=1)[n, choices]
        self._held[where] = shown[n, choices]

    def _offer(self, where: Tensor, proposals: int) -> Tensor:
        """Latents (n, K, *latent_shape) of the candidates that add most to what is already on the screen."""
        belief = self._evidence[where].softmax(dim=1)
        best, picked = self._held[where], []
        for _ in range(proposals):
            worth = (torch.maximum(self._likeness[where], best[:, None]) * belief[:, None]).sum(dim=2)
            candidate = first_best_of(worth)
            picked.append(candidate)
            best = torch.maximum(best, self._likeness[where, candidate])
        self._offered[where] = torch.stack(picked, dim=1)
        return self._latents[where[:, None], self._offered[where]]
