"""Posterior sampling of the small decision process behind image steering, and planning in each sample of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import linalg

from agents.regression import Regression
from agents.thompson import SampledPolicy, played
from steer_env.policies import TablePolicy
from steer_env.proposals import BUCKETS, bucket_scales
from steer_env.registry import Registry
from steer_env.traces import SteeringTrace

CREDITS = Registry(
    "credit",
    {
        "increment": "a round's own increment in similarity; what follows is planned for",
        "return": "all increments from the round on",
        "episode": "the improvement of the whole episode, as in Eq. 9",
    },
)
SPREADS = Registry("spread", {"root": 0.5, "constant": 0.0})
"""Power of the mixture scale that a round's spread of increments is proportional to."""

_SIGNAL, _LENGTH = 0.3, 0.6
"""How much a curve over scales bends, in units of the noise, and over which distance."""
_LEVEL, _SLOPE = 1.0, 10.0
"""Deviation of a curve's level and of the covariate's slope, in units of the noise."""
_SHARED = 0.9
"""Correlation of the curves after having stayed and after having moved."""
_ROUGHNESS = 0.02
"""Deviation of a single bucket from its curve, in units of the noise."""
_NOISE, _CENTRE = 0.05, 0.5
"""A guess at the noise of an increment, which two observations outweigh; and the middle of similarities."""


class PlanningThompson:
    """Thompson sampling over whole policies: sample a model of each round, and plan in it by backward induction.

    An episode is a decision process with states (round, stayed). Its model has two parts. A round's increment in
    similarity, divided by its spread, is a smooth curve over mixture scales, one for each value of stayed, plus a
    slope times the similarity before the round, plus normal noise of unknown variance; all its unknowns have one
    closed-form posterior (a Gaussian process over ten scales under a normal-inverse-gamma prior). Whether the user
    stays is a coin with a beta posterior.

    Args:
        rounds: R.
        credit: what a choice of scale is held to account for, a name of :data:`CREDITS`. Only ``increment`` plans.
        pooling: whether neighbouring scales, and having stayed or not, tell about each other.
        covariate: whether the similarity before the round explains a part of what the round gained.
        spread: ``root``, a round's increments spread as the square root of the mixture scale, so that before any
            data larger scales are expected to gain more; or ``constant``, with no such expectation.

    Raises:
        ValueError: an unknown credit or spread.
    """

    def __init__(
        self,
        rounds: int = 4,
        credit: str = "increment",
        pooling: bool = True,
        covariate: bool = True,
        spread: str = "root",
    ) -> None:
        CREDITS[credit]
        self._spread = bucket_scales(np.arange(BUCKETS)) ** SPREADS[spread]
        own = {"credit": credit, "pooling": pooling, "covariate": covariate, "spread": spread}
        self.settings: dict[str, Any] = {"kind": "planning", **own}
        self._credit, self._covariate = credit, covariate
        self._model = Regression(rounds, _covariance(pooling, covariate), _NOISE)
        self._stays = np.zeros((rounds, 2, BUCKETS), dtype=np.int64)

    @property
    def counts(self) -> np.ndarray:
        """How often each bucket was played, int (R, 2, 10)."""
        seen = np.diagonal(self._model.products, axis1=1, axis2=2)[:, : 2 * BUCKETS]
        return seen.astype(np.int64).reshape(self._stays.shape)

    @property
    def means(self) -> np.ndarray:
        """Expected credit of each bucket at the mean similarity of its cell, float (R, 2, 10)."""
        return self._gains(self._model.posterior().means[None])[0]

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of the same, float (R, 2, 10)."""
        posterior = self._model.posterior()
        directions = self._gains(np.moveaxis(posterior.roots, 2, 0))
        return np.sqrt((directions**2).sum(axis=0)) * posterior.noise[:, None, None]

    @property
    def meaning(self) -> str:
        return f"posterior mean and standard deviation of the credit of each scale, which is {CREDITS[self._credit]}"

    def explore(self, episodes: int, rng: np.random.Generator, training_seed: int = -1) -> SampledPolicy:
        """The best policies of N samples of the model, one for each episode."""
        gains = self._gains(self._model.posterior().sample(episodes, rng))
        stayed, moved = self._stays + 1, self.counts - self._stays + 1
        staying = rng.beta(stayed, moved, size=gains.shape)
        return SampledPolicy(bucket_scales(self._plan(gains, staying)), training_seed)

    def policy(self, name: str, training_seed: int = -1) -> TablePolicy:
        """The best policy of the expected model.

        Raises:
            RuntimeError: no episode has been credited yet.
        """
        if not self.counts.any():
            raise RuntimeError("nothing has been learned yet: train for at least one episode")
        staying = (self._stays + 1) / (self.counts + 2)
        return TablePolicy(name, bucket_scales(self._plan(self.means[None], staying[None])[0]), training_seed)

    def update(self, traces: Sequence[SteeringTrace]) -> None:
        """Learn from what every round of each episode gained, and from who stayed.

        Raises:
            ValueError: episodes of another number of rounds.
        """
        stayed, buckets = played(traces)
        rounds = len(self._stays)
        if buckets.shape[1] != rounds:
            raise ValueError(f"episodes of {buckets.shape[1]} rounds, this agent plans {rounds}")
        similarities = np.array([trace.similarities for trace in traces])
        stays = np.array([trace.choices for trace in traces]) == 0
        for place in range(rounds):
            cells = stayed[:, place], buckets[:, place]
            targets = self._target(similarities, place) / self._spread[cells[1]]
            self._model.add(place, self._features(*cells, similarities[:, place]), targets)
            np.add.at(self._stays[place], cells, stays[:, place])

    def state(self) -> dict[str, Any]:
        return {**self._model.state(), "stays": self._stays.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        self._model.restore(state)
        self._stays = np.array(state["stays"], dtype=np.int64)

    def _target(self, similarities: np.ndarray, place: int) -> np.ndarray:
        """Credit of a round, float (n,), from similarities (n, 1 + R)."""
        first = 0 if self._credit == "episode" else place
        last = place + 1 if self._credit == "increment" else -1
        return np.asarray(similarities[:, last] - similarities[:, first])

    def _features(self, stayed: np.ndarray, buckets: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        """One indicator for each (stayed, bucket), and the similarity before the round: float (n, 20 or 21)."""
        indicators = np.eye(2 * BUCKETS)[stayed * BUCKETS + buckets]
        return np.column_stack([indicators, similarity - _CENTRE]) if self._covariate else indicators

    def _gains(self, weights: np.ndarray) -> np.ndarray:
        """Expected credits float (N, R, 2, 10) at the mean similarity of each cell, from weights (N, R, D)."""
        curves = weights[..., : 2 * BUCKETS].reshape(len(weights), *self._stays.shape)
        if self._covariate:
            totals = self._model.products[:, -1, : 2 * BUCKETS].reshape(self._stays.shape).sum(axis=2)
            typical = totals / np.maximum(self.counts.sum(axis=2), 1)
            curves = curves + (weights[..., -1:] * typical)[..., None]
        return curves * self._spread

    def _plan(self, gains: np.ndarray, staying: np.ndarray) -> np.ndarray:
        """Best buckets int (N, R, 2) of N models: gains and probabilities of staying, float (N, R, 2, 10)."""
        buckets = np.empty(gains.shape[:3], dtype=int)
        moved = stayed = np.zeros((len(gains), 1, 1))
        for place in reversed(range(gains.shape[1])):
            values = gains[:, place]
            if self._credit == "increment":
                values = values + staying[:, place] * stayed + (1 - staying[:, place]) * moved
            buckets[:, place] = values.argmax(axis=2)
            moved, stayed = np.split(values.max(axis=2)[..., None], 2, axis=1)
        return buckets


def _covariance(pooling: bool, covariate: bool) -> np.ndarray:
    """Prior covariance of the regression's weights, float (D, D), in units of the noise variance."""
    scales = bucket_scales(np.arange(BUCKETS))
    bends = np.exp(-(((scales[:, None] - scales) / _LENGTH) ** 2) / 2)
    curve = _LEVEL**2 + _SIGNAL**2 * bends
    cells = np.kron([[1, _SHARED], [_SHARED, 1]], curve) + _ROUGHNESS**2 * np.eye(2 * BUCKETS)
    if not pooling:
        cells = np.diag(np.diag(cells))
    return linalg.block_diag(cells, [[_SLOPE**2]]) if covariate else cells
