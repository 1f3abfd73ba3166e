"""Games played once, from which any simulated user's stay rates follow by reweighting.

A user's choices decide what is offered next, so each user would need games of their own. But the games of one
population serve for all users whose choices it covers: a game counts for another user as much more as that user was
more likely to take its course (importance sampling, with the whole population in the denominator). In each round the
probability of staying is known, so that no user's chance remains in the estimate. The same games for all users are
common random numbers: what differs between two users isn't noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.progress import track

from steer_env.evaluation.rollout import make_env, rounds
from steer_env.evaluation.suites import evaluation_seed
from steer_env.humans.choosers import Chooser, MixtureHuman
from steer_env.policies import Policy

POPULATION: tuple[dict[str, Any], ...] = (
    {"name": "greedy", "weight": 0.3},
    {"name": "hesitant", "weight": 0.3, "threshold": 0.03},
    {"name": "hesitant", "weight": 0.1, "threshold": 0.12},
    {"name": "softmax", "weight": 0.15, "temperature": 0.05},
    {"name": "softmax", "weight": 0.15, "temperature": 0.3, "stay": 0.2},
)
"""Who plays the games: users as different as those that are fitted."""


@dataclass(frozen=True)
class Games:
    """Played games.

    Args:
        similarities: float (n, R, 1 + K), to the goal: the image held, then the proposals.
        choices: int (n, R).
        likelihood: float (n, R), probability under the population that played of the choices before each round.
    """

    similarities: np.ndarray
    choices: np.ndarray
    likelihood: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """A user's stay rates.

    Args:
        shares: float (R,).
        covariance: float (R, R), of the simulation: over games.
        effective: of how many games of the user's own this is worth, in the worst round.
    """

    shares: np.ndarray
    covariance: np.ndarray
    effective: float


def play_games(policy: Policy, tasks: Sequence[int], tasks_per_batch: int, **options: Any) -> Games:
    """Have :data:`POPULATION` play a game on each task, in an environment of these options."""
    human = MixtureHuman(POPULATION)
    options |= {"human": human}
    parts = [list(tasks[start : start + tasks_per_batch]) for start in range(0, len(tasks), tasks_per_batch)]
    env, played = make_env(len(parts[0]), **options), []
    for part in track(parts, f"{len(tasks)} games of {policy.name}", disable=len(parts) < 2):
        if len(part) != env.num_envs:
            env = make_env(len(part), **options)
        seeds = [evaluation_seed(index) for index in part]
        policy.start(seeds)
        *_, recorder = rounds(env, part, seeds, lambda observation, _: policy.act(observation)[:, None])
        outcomes = [(outcome.similarities, outcome.choices) for outcome in recorder.outcomes]
        played.append([np.stack(arrays, axis=1) for arrays in zip(*outcomes, strict=True)])
    similarities, choices = (np.concatenate(arrays) for arrays in zip(*played, strict=True))
    likelihoods = [course(member, similarities, choices)[0] for member in human.members]
    return Games(similarities, choices, np.average(likelihoods, axis=0, weights=human.weights))


def course(member: Chooser, similarities: np.ndarray, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of one user in given games, float (n, R) each: how likely the choices before a round are, and staying in it."""
    n, rounds, images = similarities.shape
    flat = torch.from_numpy(similarities.reshape(-1, images))
    probabilities = member.probabilities(flat).numpy().reshape(n, rounds, images)
    made = np.take_along_axis(probabilities, choices[:, :, None], axis=2)[:, :, 0]
    before = np.concatenate([np.ones((n, 1)), np.cumprod(made, axis=1)[:, :-1]], axis=1)
    return before, probabilities[:, :, 0]


def predict(games: Games, members: Sequence[Chooser], weights: Sequence[float]) -> Prediction:
    """Stay rates of a population in the games' setting: of members with their shares, which sum to 1."""
    courses = [course(member, games.similarities, games.choices) for member in members]
    before, staying = (np.stack(parts) for parts in zip(*courses, strict=True))
    weighted = np.asarray(weights)[:, None, None] * before
    odds, stays = weighted.sum(axis=0) / games.likelihood, (weighted * staying).sum(axis=0) / games.likelihood
    shares = stays.sum(axis=0) / odds.sum(axis=0)
    influence = (stays - odds * shares) / odds.mean(axis=0)
    effective = odds.sum(axis=0) ** 2 / (odds**2).sum(axis=0)
    return Prediction(shares, influence.T @ influence / len(influence) ** 2, float(effective.min()))
