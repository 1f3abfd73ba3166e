"""Thompson sampling over mixture scales (paper, C.2, Eq. 9), for N episodes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from steer_env.policies import Observation, TablePolicy
from steer_env.proposals import BUCKETS, bucket_scales
from steer_env.registry import Registry
from steer_env.traces import SteeringTrace

CELLS = Registry(
    "kind of cell", {"round": "Eq. 9 as printed", "round-stayed": "what the authors' released policy depends on"}
)


_SPREAD = np.linspace(-6, 6, 61)
"""Where the density of a draw is summed, in its deviations."""


class ThompsonSampling:
    """Independent normal posteriors of the episode's reward, one for each cell and bucket.

    The posterior of a cell's bucket is N(mean, σ² / (n + 1)), with the empirical mean and count. Each episode
    samples a mean for every bucket of every cell and plays the largest; its reward, the improvement of the whole
    episode, is credited to each (cell, bucket) that it played.

    Args:
        rounds: R.
        cells: ``round``, the paper's Eq. 9; or ``round-stayed``, whose cells also tell whether the user stayed.
        prior_variance: σ² of Eq. 9.

    Raises:
        ValueError: an unknown kind of cell, or a variance that isn't positive.
    """

    def __init__(self, rounds: int = 4, cells: str = "round-stayed", prior_variance: float = 1.0) -> None:
        CELLS[cells]
        if not prior_variance > 0:
            raise ValueError(f"prior_variance must be positive, got {prior_variance}")
        self.cells, self.prior_variance = cells, prior_variance
        self.counts = np.zeros((rounds, 2, BUCKETS), dtype=np.int64)
        self.sums = np.zeros((rounds, 2, BUCKETS))

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": "thompson", "cells": self.cells, "prior_variance": self.prior_variance}

    @property
    def meaning(self) -> str:
        return (
            f"Thompson sampling, cells {self.cells}: empirical mean improvement of the episodes in which each scale "
            "was played, with one standard deviation of the posterior of Eq. 9"
        )

    @property
    def means(self) -> np.ndarray:
        """Empirical mean reward, float (R, 2, 10); 0 where a bucket was never played."""
        return self.sums / np.maximum(self.counts, 1)

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of each posterior, float (R, 2, 10)."""
        return np.sqrt(self.prior_variance / (self.counts + 1))

    def explore(self, episodes: int, rng: np.random.Generator, training_seed: int = -1) -> SampledPolicy:
        """A policy that plays one posterior sample in each of N episodes."""
        draws = rng.standard_normal((episodes, *self.counts.shape))
        buckets = self._shared(self.means + self.deviations * draws).argmax(axis=3)
        return SampledPolicy(bucket_scales(buckets), training_seed, self.chances())

    def chances(self) -> np.ndarray:
        """Probability that each bucket of a cell has the largest draw, and is played: float (R, 2, 10)."""
        means, deviations = self._shared(self.means), self._shared(self.deviations)
        # Densities of all widths: each bucket brings points where its own lies.
        points = np.sort((means[..., None] + deviations[..., None] * _SPREAD).reshape(*means.shape[:2], 1, -1))
        standard = (points - means[..., None]) / deviations[..., None]
        below = np.log(ndtr(standard).clip(min=np.finfo(float).tiny))
        others = below.sum(axis=2, keepdims=True) - below
        heights = np.exp(others - standard**2 / 2) / deviations[..., None]
        largest = ((heights[..., 1:] + heights[..., :-1]) * np.diff(points)).sum(axis=3)
        return np.asarray(largest / largest.sum(axis=2, keepdims=True))

    def policy(self, name: str, training_seed: int = -1) -> TablePolicy:
        """The policy that plays the bucket of largest empirical mean in every cell.

        A cell that was never visited, such as having stayed before the first round, plays what the round's other
        cell plays.

        Raises:
            RuntimeError: no episode has been credited yet.
        """
        if not self.counts.any():
            raise RuntimeError("nothing has been learned yet: train for at least one episode")
        tried = np.where(self.counts > 0, self.means, -np.inf)
        unvisited = ~self.counts.any(axis=2, keepdims=True)
        tried = np.where(unvisited, tried[:, ::-1], tried)
        return TablePolicy(name, bucket_scales(self._shared(tried).argmax(axis=2)), training_seed)

    def _shared(self, values: np.ndarray) -> np.ndarray:
        """Values (…, R, 2, 10), those of staying replaced where the cells don't tell."""
        if self.cells == "round":
            values = values.copy()
            values[..., 1, :] = values[..., 0, :]
        return values

    def update(self, traces: Sequence[SteeringTrace]) -> None:
        """Credit each episode's improvement to the buckets that it played."""
        stayed, buckets = played(traces)
        cells: Any = np.arange(buckets.shape[1]), stayed if self.cells == "round-stayed" else 0, buckets
        np.add.at(self.counts, cells, 1)
        np.add.at(self.sums, cells, np.array([[trace.improvement] for trace in traces]))

    def state(self) -> dict[str, Any]:
        return {"counts": self.counts.tolist(), "sums": self.sums.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        counts, sums = np.array(state["counts"], dtype=np.int64), np.array(state["sums"])
        if counts.shape != self.counts.shape or sums.shape != self.sums.shape:
            raise ValueError(f"the state is for cells {counts.shape}, this agent has {self.counts.shape}")
        self.counts, self.sums = counts, sums


def played(traces: Sequence[SteeringTrace]) -> tuple[np.ndarray, np.ndarray]:
    """Of each round of N episodes, whether the user had stayed in the one before, and the bucket: int (N, R) each."""
    stays = np.array([trace.choices for trace in traces]) == 0
    stayed = np.column_stack([np.zeros(len(traces), dtype=int), stays[:, :-1]])
    return stayed, np.rint(np.array([trace.scales for trace in traces]) * BUCKETS).astype(int) - 1


class SampledPolicy:
    """A table of scales for each episode, float (N, R, 2); ``chances``, (R, 2, 10), of the buckets that it may hold."""

    name = "exploring"

    def __init__(self, scales: np.ndarray, training_seed: int, chances: np.ndarray | None = None) -> None:
        self.scales, self.training_seed, self.chances = scales, training_seed, chances

    def start(self, episode_seeds: Sequence[int]) -> None:
        """The tables were drawn already."""

    def act(self, observation: Observation) -> np.ndarray:
        self._cells = observation["round"], observation["stayed"]
        return np.asarray(self.scales[(np.arange(len(self.scales)), *self._cells)])

    def propensity(self, scales: np.ndarray) -> np.ndarray:
        """See :class:`steer_env.policies.ExploringPolicy`; nan where the agent doesn't say."""
        if self.chances is None:
            return np.full(len(scales), np.nan)
        return np.asarray(self.chances[(*self._cells, np.rint(scales * BUCKETS).astype(int) - 1)])
