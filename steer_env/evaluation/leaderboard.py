"""Rank policies by their episodes on the same tasks, in a track for each mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from steer_env.evaluation import statistics
from steer_env.evaluation.uncertainty import Bootstrap, Interval, estimate


@dataclass(frozen=True)
class Entry:
    """What a leaderboard says of a policy that its episodes don't.

    Args:
        training_episodes: of each training; 0 for none, None if its card doesn't say.
        seconds: wall time of an episode.
    """

    training_episodes: int | None
    seconds: float


@dataclass(frozen=True)
class Row:
    """A policy's line, over all its training seeds.

    Args:
        policy: its name.
        track: the mechanism, see :func:`tracks`.
        rank: from 1 in the track; None for a trained policy with a single training seed, which may have been a lucky
            one.
        improvement: mean.
        error: its two-way clustered standard error.
        improved: share of episodes whose improvement is positive.
        regret: how much more the best ranked policy of the track improves on the same tasks; None if nothing is ranked.
        better: probability of improvement over the next ranked policy of the track; None for the last and the unranked.
        judged: by name of a metric that nothing was trained on, the improvement under it.
        robust: improvement with the noisy user; None where it wasn't played.
        training_seeds: how many; 0 for a policy that no training made.
        episodes: played for this row, without those with the noisy user.
        images: that an episode takes; None where nobody counted.
        training_episodes, seconds: see :class:`Entry`.
    """

    policy: str
    track: str
    rank: int | None
    improvement: Interval
    error: float
    improved: Interval
    regret: Interval | None
    better: Interval | None
    judged: Mapping[str, Interval]
    robust: Interval | None
    training_seeds: int
    episodes: int
    images: float | None
    training_episodes: int | None
    seconds: float


class Leaderboard:
    """Policies of one track in their order: the ranked ones first, by mean improvement.

    Args:
        frame: from :func:`steer_env.traces.traces_to_frame`, every policy on the same tasks by the same mechanism.
        noisy: the same with a noisy user; policies that it lacks have no robustness.
        resamples, level, seed: see :class:`steer_env.evaluation.uncertainty.Bootstrap`.

    Raises:
        ValueError: policies on different tasks or of different mechanisms, or fewer than two tasks.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        noisy: pd.DataFrame | None = None,
        resamples: int = 2000,
        level: float = 0.95,
        seed: int = 0,
    ) -> None:
        if frame.groupby("policy")["task_index"].agg(frozenset).nunique() > 1:
            raise ValueError("the policies were played on different tasks: evaluate them together")
        mechanisms = frame["mechanism"].unique()
        if len(mechanisms) > 1:
            raise ValueError(f"each mechanism is a track of its own: rank {', '.join(mechanisms)} apart, see tracks")
        self.track = str(mechanisms[0])
        self._images = statistics.images(frame)
        self._frame, self._noisy = frame.join(statistics.judged_changes(frame)), noisy
        self._tables = {policy: statistics.table(frame, policy) for policy in frame["policy"].unique()}
        self._errors = {policy: estimate(table).error for policy, table in self._tables.items()}
        self._bootstrap = Bootstrap(frame["task_index"].nunique(), resamples, level, seed)
        best_first = sorted(self._tables, key=lambda policy: -self._tables[policy].mean())
        self.ranked = [policy for policy in best_first if self._training_seeds(policy) != 1]
        self.policies = self.ranked + [policy for policy in best_first if policy not in self.ranked]

    def rows(self, entries: Mapping[str, Entry]) -> list[Row]:
        """One row a policy.

        Args:
            entries: by policy.
        """
        return [self._row(policy, entries[policy]) for policy in self.policies]

    def _training_seeds(self, policy: str) -> int:
        seeds = self._frame.loc[self._frame["policy"] == policy, "training_seed"].unique()
        return int((seeds >= 0).sum())

    def _row(self, policy: str, entry: Entry) -> Row:
        own, mean = self._tables[policy], self._bootstrap.mean
        judges = [name for name in self._frame.columns if name.endswith(" change")]
        return Row(
            policy=policy,
            track=self.track,
            rank=1 + self.ranked.index(policy) if policy in self.ranked else None,
            improvement=mean(own),
            error=self._errors[policy],
            improved=mean((own > 0).astype(float)),
            regret=self._regret(policy),
            better=self._better(policy),
            judged={name.removesuffix(" change"): mean(statistics.table(self._frame, policy, name)) for name in judges},
            robust=self._robust(policy),
            training_seeds=self._training_seeds(policy),
            episodes=own.size,
            images=None if np.isnan(self._images[policy]) else float(self._images[policy]),
            training_episodes=entry.training_episodes,
            seconds=entry.seconds,
        )

    def _regret(self, policy: str) -> Interval | None:
        if not self.ranked:
            return None
        if policy == self.ranked[0]:
            return Interval(0.0, 0.0, 0.0)
        return self._bootstrap.difference(self._tables[self.ranked[0]], self._tables[policy])

    def _better(self, policy: str) -> Interval | None:
        if policy not in self.ranked[:-1]:
            return None
        below = self.ranked[self.ranked.index(policy) + 1]
        return self._bootstrap.improvement(self._tables[policy], self._tables[below])

    def _robust(self, policy: str) -> Interval | None:
        if self._noisy is None or policy not in set(self._noisy["policy"]):
            return None
        return self._bootstrap.mean(statistics.table(self._noisy, policy))


def tracks(frame: pd.DataFrame, noisy: pd.DataFrame | None = None, **options: Any) -> list[Leaderboard]:
    """A leaderboard for each mechanism, in the order of the frame.

    A better mechanism doesn't make a better policy, and may cost more images: ranks, regret and what it refers to are a
    track's own. The tasks are the same, so improvements stand beside each other.

    Args:
        frame, noisy, **options: of :class:`Leaderboard`.

    Raises:
        ValueError: as :class:`Leaderboard`.
    """
    if frame.groupby(["mechanism", "policy"])["task_index"].agg(frozenset).nunique() > 1:
        raise ValueError("the policies were played on different tasks: evaluate them together")

    def of(mechanism: str, episodes: pd.DataFrame) -> pd.DataFrame:
        return episodes[episodes["mechanism"] == mechanism]

    return [
        Leaderboard(of(mechanism, frame), None if noisy is None else of(mechanism, noisy), **options)
        for mechanism in frame["mechanism"].unique()
    ]
