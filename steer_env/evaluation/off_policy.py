"""What a policy would have gained in sessions that other policies steered: off-policy evaluation of logged traces.

The sessions' policies must have drawn scales at random, with known probabilities (``propensities`` of traces), among
them every scale that the evaluated policy plays. Four estimates of the mean improvement:

- inverse propensity: a session counts by how much likelier the policy is to have played all of its scales;
- self-normalised: the same, divided by the mean weight rather than by one, which trades a small bias for less spread;
- per-decision: a round's increment counts by the scales up to it alone, since later ones can't have caused it
  (Precup et al., 2000);
- doubly robust: a table of expected increments to come, learned from other people's sessions, corrected by the same
  weights (Jiang & Li, 2016); right if either is right, and the narrowest if both are.

Intervals are Student's, clustered by person: a person's sessions aren't independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import pandas as pd

from steer_env.evaluation.statistics import people_or_tasks
from steer_env.evaluation.uncertainty import Estimate, clustered_estimate, share_of
from steer_env.policies import ExploringPolicy, Policy
from steer_env.traces import SteeringTrace

FOLDS = 5
"""Of people: what is expected of one fold is learned from the others."""
FEW = 20.0
"""Fewer people than this, in effect, are too few for an interval to be trusted."""
_PRIOR = 5
"""Sessions that the mean of a state counts for in the expectation of each of its scales."""


@dataclass(frozen=True)
class Logged:
    """Sessions of n people's image steering, R rounds each.

    Args:
        stayed: int (n, R), whether the user had stayed in the round before; 0 in the first.
        scales: int (n, R), which of ``played`` each round had.
        played: float (A,), the mixture scales that occur.
        propensities: float (n, R), of the scales, in (0, 1].
        increments: float (n, R), what each round added to the similarity; their sum is the improvement.
        units: n, whose session it is.
    """

    stayed: np.ndarray
    scales: np.ndarray
    played: np.ndarray
    propensities: np.ndarray
    increments: np.ndarray
    units: pd.Series

    @classmethod
    def of(cls, traces: Sequence[SteeringTrace]) -> Logged:
        """
        Raises:
            ValueError: no session; one without propensities or similarities; or sessions of several lengths.
        """
        lengths = sorted({len(trace.scales) for trace in traces})
        if len(lengths) != 1 or lengths == [0]:
            raise ValueError(f"sessions must be of image steering, all with one number of rounds, found {lengths}")
        for trace in traces:
            if len(trace.propensities) != lengths[0] or not all(0 < chance <= 1 for chance in trace.propensities):
                raise ValueError(
                    f"task {trace.task_index} of {trace.suite}, by {trace.policy!r}: the session lacks the "
                    "probabilities with which its scales were drawn; log them with policies such as "
                    "exploring:policy=published or random-bucket"
                )
        similarities = np.array([trace.similarities for trace in traces])
        if not np.isfinite(similarities).all():
            raise ValueError("sessions without similarities to the goal can't be evaluated")
        scales = np.round([trace.scales for trace in traces], 9)
        played, places = np.unique(scales, return_inverse=True)
        stays = np.array([trace.choices for trace in traces]) == 0
        stayed = np.column_stack([np.zeros(len(traces), dtype=int), stays[:, :-1]])
        chances = np.array([trace.propensities for trace in traces])
        increments = np.diff(similarities, axis=1)
        return cls(stayed, places.reshape(scales.shape), played, chances, increments, people_or_tasks(traces))

    def chances(self, policy: Policy) -> np.ndarray:
        """How likely a policy plays each scale at what the sessions' users did: float (n, R, A).

        Raises:
            ValueError: it plays a scale that was never logged, or needs to see more than rounds and stays.
        """
        n, rounds = self.scales.shape
        policy.start(range(n))
        probabilities = np.empty((n, rounds, len(self.played)))
        for place in range(rounds):
            try:
                acted = policy.act({"round": np.full(n, place), "stayed": self.stayed[:, place]})
            except KeyError as error:
                raise ValueError(f"{policy.name!r} needs to see {error}, which traces don't hold") from error
            for action, scale in enumerate(self.played):
                every = np.full(n, scale)
                known = policy.propensity(every) if isinstance(policy, ExploringPolicy) else np.isclose(acted, every)
                probabilities[:, place, action] = known
        if not np.allclose(probabilities.sum(axis=2), 1):
            place = int(np.argwhere(~np.isclose(probabilities.sum(axis=2), 1))[0, 1])
            raise ValueError(
                f"{policy.name!r} plays scales in round {place + 1} that no session has: there are "
                f"{', '.join(f'{scale:g}' for scale in self.played)}"
            )
        return probabilities


@dataclass(frozen=True)
class OffPolicy:
    """A policy's mean improvement, by name of the estimator.

    Args:
        estimates: with errors clustered by person.
        effective: of how many people's sessions by the policy itself the weights leave the information.
    """

    estimates: dict[str, Estimate]
    effective: float

    @property
    def trusted(self) -> bool:
        """Are there enough people for the intervals? See :data:`FEW`."""
        return self.effective >= FEW


def off_policy(traces: Sequence[SteeringTrace] | Logged, policy: Policy) -> OffPolicy:
    """Evaluate a policy on sessions that others steered.

    Args:
        traces: of image steering, with propensities.
        policy: sees rounds and stays alone.

    Raises:
        ValueError: as for :class:`Logged` and :meth:`Logged.chances`.
    """
    logged = traces if isinstance(traces, Logged) else Logged.of(traces)
    chances = logged.chances(policy)
    own = np.take_along_axis(chances, logged.scales[..., None], axis=2)[..., 0]
    weights = np.cumprod(own / logged.propensities, axis=1)
    improvement, last = logged.increments.sum(axis=1), weights[:, -1]
    normalised, influence = share_of(last * improvement, last) if last.any() else (nan, np.full(len(last), nan))
    estimates = {
        "inverse propensity": clustered_estimate(last * improvement, logged.units),
        "self-normalised": replace(clustered_estimate(influence, logged.units), value=normalised),
        "per-decision": clustered_estimate((weights * logged.increments).sum(axis=1), logged.units),
        "doubly robust": clustered_estimate(_doubly_robust(logged, chances, weights), logged.units),
    }
    people = pd.Series(last).groupby(logged.units.to_numpy()).sum()
    squares = float((people**2).sum())
    return OffPolicy(estimates, float(people.sum() ** 2 / squares) if squares else 0.0)


def _doubly_robust(logged: Logged, chances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What each session says of the policy's mean improvement, float (n,)."""
    n, rounds = logged.scales.shape
    before = np.column_stack([np.ones(n), weights[:, :-1]])
    result = np.empty(n)
    folds = pd.factorize(logged.units)[0] % min(FOLDS, logged.units.nunique())
    for fold in np.unique(folds):
        here = folds == fold
        expected = _expected(logged, chances, ~here if (~here).any() else here)
        table = expected[np.arange(rounds), logged.stayed[here]]  # (m, R, A)
        values = (chances[here] * table).sum(axis=2)
        played = np.take_along_axis(table, logged.scales[here][..., None], axis=2)[..., 0]
        surprise = weights[here] * (logged.increments[here] - played)
        result[here] = (before[here] * values + surprise).sum(axis=1)
    return result


def _expected(logged: Logged, chances: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Increments to come under the policy, by round, stay and scale: float (R, 2, A), from some of the sessions."""
    rounds, actions = logged.scales.shape[1], len(logged.played)
    expected = np.zeros((rounds, 2, actions))
    value = np.zeros(int(part.sum()))
    for place in reversed(range(rounds)):
        stayed, scales = logged.stayed[part, place], logged.scales[part, place]
        targets = logged.increments[part, place] + value
        for state in (0, 1):
            there = stayed == state
            mean = targets[there].mean() if there.any() else targets.mean()
            counts = np.bincount(scales[there], minlength=actions)
            sums = np.bincount(scales[there], targets[there], minlength=actions)
            expected[place, state] = (sums + _PRIOR * mean) / (counts + _PRIOR)
        value = (chances[part, place] * expected[place, stayed]).sum(axis=1)
    return expected
