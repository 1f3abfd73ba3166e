"""Rank policies by their episodes on the same tasks, in a track for each mechanism, and show it as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from steer_env.evaluation import plots, statistics
from steer_env.evaluation.reports import Report, Section, conditions, count, examples
from steer_env.evaluation.uncertainty import UNKNOWN, Bootstrap, Interval, estimate

_READING = (
    "{tracks}Improvement: mean change of similarity to the goal, first to last image. Improved: share of episodes in "
    "which it rose. Regret: how much more the best ranked policy improves on the same tasks; being the best here, it "
    "was partly lucky. P(better than next): the chance that one training of this policy does better on a task than one "
    "of the policy ranked below it, ties counted half. {judges}{robust}Brackets hold 95 % bootstrap intervals over "
    "tasks and training seeds; with two or three training seeds they are too narrow. A trained policy with a single "
    "training seed isn't ranked: it may have been a lucky one. Images: made in an episode, goal, first image and what "
    "the mechanism makes beyond those shown included. Passes: of the denoiser, for these images and for the "
    "mechanism's previews or predictions. Milliseconds an episode: wall time of the policy played alone, image making "
    "included, on {machine}."
)
_TRACKS = (
    "Each mechanism is a track of its own ({names}): rank, regret and P(better than next) are among the policies of a "
    "track. "
)


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
        images, passes: that an episode takes; None where they weren't counted.
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
    passes: float | None
    training_episodes: int | None
    seconds: float


class Leaderboard:
    """Policies of one track in their order: the ranked ones first, by mean improvement.

    Args:
        frame: from :func:`steer_env.traces.traces_to_frame`, every policy on the same tasks by the same mechanism.
        noisy: the same with a noisy user; policies that it lacks have no robustness.
        **resampling: resamples, level and seed of :class:`steer_env.evaluation.uncertainty.Bootstrap`.

    Raises:
        ValueError: policies on different tasks or of different mechanisms, or fewer than two tasks.
    """

    def __init__(self, frame: pd.DataFrame, noisy: pd.DataFrame | None = None, **resampling: Any) -> None:
        _check_tasks(frame)
        mechanisms = frame["mechanism"].unique()
        if len(mechanisms) > 1:
            raise ValueError(f"each mechanism is a track of its own: rank {', '.join(mechanisms)} apart, see tracks")
        self.track = str(mechanisms[0])
        self._cost = statistics.cost(frame)
        self._frame, self._noisy = frame.join(statistics.judged_changes(frame)), noisy
        self._tables = {policy: statistics.table(frame, policy) for policy in frame["policy"].unique()}
        self._errors = {policy: estimate(table).error for policy, table in self._tables.items()}
        self._bootstrap = Bootstrap(frame["task_index"].nunique(), **resampling)
        trained = frame[frame["training_seed"] >= 0].groupby("policy")["training_seed"].nunique()
        self._seeds = {policy: int(trained.get(policy, 0)) for policy in self._tables}
        best_first = sorted(self._tables, key=lambda policy: -self._tables[policy].mean())
        self.ranked = [policy for policy in best_first if self._seeds[policy] != 1]
        self.policies = self.ranked + [policy for policy in best_first if policy not in self.ranked]

    def rows(self, entries: Mapping[str, Entry]) -> list[Row]:
        """One row a policy.

        Args:
            entries: by policy.
        """
        return [self._row(policy, entries[policy]) for policy in self.policies]

    def _row(self, policy: str, entry: Entry) -> Row:
        own, mean = self._tables[policy], self._bootstrap.mean
        judges = [name for name in self._frame.columns if name.endswith(" change")]
        noisy = None if self._noisy is None else self._noisy[self._noisy["policy"] == policy]
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
            robust=None if noisy is None or noisy.empty else mean(statistics.table(noisy, policy)),
            training_seeds=self._seeds[policy],
            episodes=own.size,
            images=self._counted("images", policy),
            passes=self._counted("passes", policy),
            training_episodes=entry.training_episodes,
            seconds=entry.seconds,
        )

    def _counted(self, what: str, policy: str) -> float | None:
        mean = float(self._cost[what].loc[policy])
        return None if np.isnan(mean) else mean

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


def tracks(frame: pd.DataFrame, noisy: pd.DataFrame | None = None, **options: Any) -> list[Leaderboard]:
    """A leaderboard for each mechanism, in the order of the frame.

    A better mechanism doesn't make a better policy, and may cost more images: ranks, regret and what it refers to are a
    track's own. The tasks are the same, so improvements stand beside each other.

    Args:
        frame, noisy, **options: of :class:`Leaderboard`.

    Raises:
        ValueError: as :class:`Leaderboard`.
    """
    _check_tasks(frame)
    boards = []
    for mechanism, episodes in frame.groupby("mechanism", sort=False):
        own = None if noisy is None else noisy[noisy["mechanism"] == mechanism]
        boards.append(Leaderboard(episodes, own, **options))
    return boards


def _check_tasks(frame: pd.DataFrame) -> None:
    if frame.groupby(["mechanism", "policy"])["task_index"].agg(frozenset).nunique() > 1:
        raise ValueError("the policies were played on different tasks: evaluate them together")


def leaderboard_report(
    rows: Sequence[Row],
    frame: pd.DataFrame,
    noisy_human: str,
    machine: str,
    strips: Sequence[plots.Figure],
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """The ranking, curves and pictures.

    Args:
        rows: from :func:`steer_env.evaluation.leaderboard.tracks`, track by track.
        frame: the episodes behind them.
        noisy_human: id of the user of the robustness column; empty for none.
        machine: where wall time was measured.
        strips: pictures of episodes.
        refused: why submissions weren't played, by folder.
    """
    judges = "".join(
        f"{name}: the same improvement under a metric that nothing was trained on. " for name in rows[0].judged
    )
    robust = f"{noisy_human}: improvement with that noisy user. " if noisy_human else ""
    names = list(dict.fromkeys(row.track for row in rows))
    order, played, several = [row.policy for row in rows], frame, ""
    if len(names) > 1:
        several = _TRACKS.format(names=", ".join(names))
        order = [f"{row.policy}, {row.track}" for row in rows]
        played = frame.assign(policy=frame["policy"] + ", " + frame["mechanism"])
    by_rank = played.sort_values("policy", key=lambda column: column.map(order.index), kind="stable")
    reading = _READING.format(tracks=several, judges=judges, robust=robust, machine=machine)
    curves = plots.attempts_curve(statistics.attempts(by_rank))
    sections = [
        Section("Ranking", reading, [pd.DataFrame([_cells(row, noisy_human, bool(several)) for row in rows])]),
        Section("Similarity at each attempt", "Means with one standard error.", figures=[curves]),
    ]
    if refused:
        table = pd.DataFrame(refused.items(), columns=["submission", "reason"])
        sections.append(Section("Refused", "Submissions that weren't played.", [table]))
    if strips:
        sections.append(examples(strips))
    return Report(f"Leaderboard of {frame['suite'].iloc[0]}", conditions(played), sections)


def _cells(row: Row, noisy_human: str, several_tracks: bool) -> dict[str, str]:
    cells = {
        "policy": row.policy,
        **({"track": row.track} if several_tracks else {}),
        "rank": "one training seed" if row.rank is None else str(row.rank),
        "improvement": str(row.improvement),
        "improved": f"{row.improved:.3f}",
        "regret": str(row.regret or UNKNOWN),
        "P(better than next)": f"{row.better:.3f}" if row.better else UNKNOWN,
        **{name: str(interval) for name, interval in row.judged.items()},
    }
    if noisy_human:
        cells[noisy_human] = str(row.robust or UNKNOWN)
    episodes = "not stated" if row.training_episodes is None else str(row.training_episodes)
    return cells | {
        "training episodes": episodes,
        "training seeds": str(row.training_seeds),
        "episodes": str(row.episodes),
        **{name: UNKNOWN if (mean := getattr(row, name)) is None else count(mean) for name in ("images", "passes")},
        "ms an episode": f"{1000 * row.seconds:.0f}",
    }
