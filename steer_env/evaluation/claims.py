"""Whether a policy's claimed scores hold when it is played again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from steer_env.evaluation.uncertainty import SAME, Estimate
from steer_env.policies.cards import Claim


@dataclass(frozen=True)
class Verdict:
    """A claim beside what was found.

    Args:
        claimed: mean improvement, as stated.
        found: the same, as measured.
        z: the difference in standard errors of a difference.
        p_value: two-sided.
        same_episodes: whether the tasks and the noise were the claim's own, so that the means should be equal.
        equal: whether they are, up to rounding.
        holds: whether they are equal or z is within the level's bounds.
    """

    claimed: Estimate
    found: Estimate
    z: float
    p_value: float
    same_episodes: bool
    equal: bool
    holds: bool

    def __str__(self) -> str:
        numbers = f"claimed {self.claimed}, found {self.found}"
        test = f"z = {self.z:.2f}, p = {self.p_value:.2g}"
        if not self.same_episodes:
            expected = "same tasks, other noise"
        else:
            expected = f"same tasks and noise, and the means are {'' if self.equal else 'not '}equal up to rounding"
        return f"the claim {'holds' if self.holds else 'does not hold'}: {numbers}; {test}; {expected}"


def judge(claim: Claim, found: Estimate, same_episodes: bool, level: float = 0.95) -> Verdict:
    """Compare a claimed mean with a measured one by a z-test.

    A stated error larger than the measured one buys nothing: the smaller of the two counts. The test takes the two
    means for independent, so with the claim's own tasks it forgives more than its level says.

    Args:
        claim: as stated.
        found: on as many tasks of the same suite.
        same_episodes: whether tasks and noise were the claim's own.
        level: of the test.
    """
    difference = claim.improvement - found.value
    equal = abs(difference) <= SAME
    error = math.hypot(min(claim.error, found.error), found.error)
    z = difference / error if error else 0.0 if equal else math.copysign(math.inf, difference)
    bound = float(stats.norm.ppf(0.5 + level / 2))
    return Verdict(
        Estimate(claim.improvement, claim.error, claim.tasks, claim.tasks - 1),
        found,
        z,
        float(2 * stats.norm.sf(abs(z))),
        same_episodes,
        equal,
        equal or abs(z) <= bound,
    )
