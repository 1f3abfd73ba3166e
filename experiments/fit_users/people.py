"""How often real people keep the current image: the only measure of choice that the release allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.run.released.files import StudyError
from steer_env.evaluation.uncertainty import Estimate, ratio
from steer_env.traces import SteeringTrace


@dataclass(frozen=True)
class Stays:
    """Shares of sessions in which no proposal was picked, by condition and round.

    Args:
        conditions: C suites, such as ``study-image-tiles``, with the policy where people had several on one.
        policies: C, which policy people had there.
        sessions, people: int, C each.
        shares: float (C, R), in [0, 1].
        covariance: float (C·R, C·R) of the shares, condition by condition, with the rounds and sessions of a person
            dependent, in whichever conditions they are.
        spread: variance of the number of stays of a session, float.
        likeness: correlation of that number between two sessions of one person, over people; None if no person had two.
            People who differ from each other make it positive.
    """

    conditions: Sequence[str]
    policies: Sequence[str]
    sessions: Sequence[int]
    people: Sequence[int]
    shares: np.ndarray
    covariance: np.ndarray
    spread: float
    likeness: Estimate | None

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the shares, float (C, R)."""
        return np.sqrt(np.diag(self.covariance)).reshape(self.shares.shape)

    def estimates(self, condition: int) -> list[Estimate]:
        """The share of each round of one condition, by its place, with its standard error over people."""
        errors, people = self.errors[condition], self.people[condition]
        pairs = zip(self.shares[condition], errors, strict=True)
        return [Estimate(share, error, self.sessions[condition], people - 1) for share, error in pairs]

    def alone(self, condition: int) -> Stays:
        """One condition, by its place."""
        rounds = self.shares.shape[1]
        one, its = slice(condition, condition + 1), slice(condition * rounds, (condition + 1) * rounds)
        parts = (self.conditions[one], self.policies[one], self.sessions[one], self.people[one])
        return Stays(*parts, self.shares[one], self.covariance[its, its], self.spread, self.likeness)


def observed_stays(traces: Sequence[SteeringTrace]) -> Stays:
    """From sessions of image steering, as :func:`experiments.run.released.sessions.study_traces` reads them.

    Raises:
        StudyError: no such session, sessions of different lengths, or a condition with no more people than rounds.
    """
    frame = pd.DataFrame(
        {"suite": trace.suite, "policy": trace.policy, "person": trace.human, "choices": trace.choices}
        for trace in traces
        if trace.choices
    )
    lengths = sorted({len(choices) for choices in frame["choices"]}) if len(frame) else []
    if len(lengths) != 1:
        raise StudyError(f"sessions of image steering must have one number of rounds, found {lengths}")
    stayed = np.array(frame["choices"].tolist()) == 0
    conditions = dict.fromkeys(zip(frame["suite"], frame["policy"], strict=True))
    parts = [((frame["suite"] == suite) & (frame["policy"] == policy)).to_numpy() for suite, policy in conditions]
    people = [frame["person"][here].nunique() for here in parts]
    for (suite, _), number in zip(conditions, people, strict=True):
        if number <= lengths[0]:
            raise StudyError(f"{suite}: the covariance of {lengths[0]} rounds needs more people than {number}")
    return Stays(
        _names(list(conditions)),
        [policy for _, policy in conditions],
        [int(here.sum()) for here in parts],
        people,
        np.array([stayed[here].mean(axis=0) for here in parts]),
        _covariance(stayed, parts, frame["person"]),
        *_numbers(frame.assign(number=stayed.sum(axis=1))),
    )


def _names(conditions: Sequence[tuple[str, str]]) -> list[str]:
    """Suites, with the policy where a suite has several."""
    suites = [suite for suite, _ in conditions]
    return [f"{suite}, {policy}" if suites.count(suite) > 1 else suite for suite, policy in conditions]


def _covariance(stayed: np.ndarray, parts: Sequence[np.ndarray], persons: pd.Series) -> np.ndarray:
    """Of the conditions' shares, one-way clustered: deviations summed within a person, and the sums' products."""
    deviations = []
    for here in parts:
        people = persons[here].nunique()
        deviation = np.where(here[:, None], stayed - stayed[here].mean(axis=0), 0.0)
        deviations.append(deviation / here.sum() * (people / (people - 1)) ** 0.5)
    sums = pd.DataFrame(np.concatenate(deviations, axis=1)).groupby(persons.to_numpy()).sum().to_numpy()
    return np.asarray(sums.T @ sums)


def _numbers(frame: pd.DataFrame) -> tuple[float, Estimate | None]:
    """Variance of the number of stays within a condition, and how alike it is in two sessions of a person."""
    apart = frame["number"] - frame.groupby(["suite", "policy"])["number"].transform("mean")
    people = [rows.to_numpy() for _, rows in apart.groupby(frame["person"]) if len(rows) > 1]
    squares = np.array([(x**2).mean() for x in people])
    if len(people) < 2 or not squares.any():
        return float(apart.var()), None
    products = np.array([(x.sum() ** 2 - (x**2).sum()) / (len(x) * (len(x) - 1)) for x in people])
    return float(apart.var()), ratio(products, squares)
