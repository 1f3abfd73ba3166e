"""Scores that are claimed for a policy, and whether they hold when it is played again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from scipy import stats

from steer_env.evaluation.uncertainty import SAME, Estimate
from steer_env.policies.cards import check_integer, check_mapping, check_name, check_number, check_text


@dataclass(frozen=True)
class Claim:
    """Scores stated of a policy. A claim lies apart from the policy, and nothing in it decides what is played.

    Args:
        policy, content: name of the policy, and the hash of what it does.
        suite: that it was played on.
        generator, metric, human, mechanism: ids of the parts, as traces have them.
        rounds, proposals: R and K.
        improvement: mean over the tasks, of this one training seed.
        error: its standard error over tasks; 0 if nothing is stated.
        tasks: how many of the suite, from its first; 0 if nothing is stated.
        noise: of the episodes; −1 if nothing is stated.
        versions: of the packages that measured it.

    Raises:
        ValueError: a value of another type or out of its range.
    """

    policy: str
    content: str
    suite: str
    generator: str
    metric: str
    human: str
    mechanism: str
    rounds: int
    proposals: int
    improvement: float
    error: float = 0.0
    tasks: int = 0
    noise: int = -1
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.policy)
        for name in ("content", "suite", "generator", "metric", "human", "mechanism"):
            check_text(name, getattr(self, name))
        for name, least in (("rounds", 1), ("proposals", 1), ("tasks", 0), ("noise", -1)):
            check_integer(name, getattr(self, name), least)
        for name in ("improvement", "error"):
            check_number(name, getattr(self, name))
        if self.error < 0:
            raise ValueError(f"error must not be negative, got {self.error}")
        check_mapping("versions", self.versions)


@dataclass(frozen=True)
class Verdict:
    """A claim beside what was measured.

    Args:
        claimed: mean improvement, as stated.
        measured: the same, as the verifier measured it.
        z: the difference in standard errors of a difference.
        p_value: two-sided.
        same_episodes: whether the tasks and the noise were the claim's own, so that the means should be equal.
        equal: whether they are, up to rounding.
        holds: with the claim's own episodes, whether they are equal; else whether z is within the level's bounds.
    """

    claimed: Estimate
    measured: Estimate
    z: float
    p_value: float
    same_episodes: bool
    equal: bool
    holds: bool

    def __str__(self) -> str:
        expected = "other tasks or noise than the claim's"
        if self.same_episodes:
            expected = f"same tasks and noise, and the means are {'' if self.equal else 'not '}equal up to rounding"
        return (
            f"the claim {'holds' if self.holds else 'does not hold'}: claimed {self.claimed}, found {self.measured}; "
            f"z = {self.z:.2f}, p = {self.p_value:.2g}; {expected}"
        )


def judge(claim: Claim, measured: Estimate, same_episodes: bool, level: float = 0.95) -> Verdict:
    """Compare a claimed mean with a measured one.

    The same episodes have the same mean, up to rounding, however few they are. Otherwise it is a z-test, in which a
    stated error larger than the measured one buys nothing: the smaller of the two counts.

    Args:
        claim: as stated.
        measured: on tasks and noise of the verifier's choice, under the claim's conditions.
        same_episodes: whether these are the claim's own.
        level: of the test.
    """
    difference = claim.improvement - measured.value
    equal = abs(difference) <= SAME
    error = math.hypot(min(claim.error, measured.error), measured.error)
    z = difference / error if error else 0.0 if equal else math.copysign(math.inf, difference)
    within = abs(z) <= float(stats.norm.ppf(0.5 + level / 2))
    return Verdict(
        claimed=Estimate(claim.improvement, claim.error, claim.tasks, claim.tasks - 1),
        measured=measured,
        z=z,
        p_value=float(2 * stats.norm.sf(abs(z))),
        same_episodes=same_episodes,
        equal=equal,
        holds=equal or (within and not same_episodes),
    )
