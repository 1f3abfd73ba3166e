import math

import pytest
from scipy import stats

from steer_env.evaluation.claims import judge
from steer_env.evaluation.uncertainty import Estimate
from steer_env.policies.cards import Claim


def claim(improvement: float, error: float) -> Claim:
    return Claim("s", 100, "g", "m", "h", "d", 4, 2, improvement, error)


def found(mean: float, error: float) -> Estimate:
    return Estimate(mean, error, 100, 99)


@pytest.mark.parametrize(("claimed", "holds"), [(0.20, True), (0.22, True), (0.18, True), (0.24, False), (0.16, False)])
def test_it_is_a_z_test_of_the_difference(claimed: float, holds: bool) -> None:
    verdict = judge(claim(claimed, 0.01), found(0.20, 0.01), same_episodes=False)
    z = (claimed - 0.20) / math.hypot(0.01, 0.01)
    assert verdict.z == pytest.approx(z)
    assert verdict.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert verdict.holds is holds is (abs(z) < 1.96)
    assert f"the claim {'holds' if holds else 'does not hold'}: claimed {claimed:.4f} (0.0100)" in str(verdict)
    assert "same tasks, other noise" in str(verdict)


def test_stating_a_large_error_buys_nothing() -> None:
    assert not judge(claim(0.9, 10.0), found(0.2, 0.01), same_episodes=True).holds


def test_the_same_episodes_should_have_equal_means() -> None:
    equal = judge(claim(0.20005, 0.0), found(0.20, 0.0), same_episodes=True)
    assert (equal.equal, equal.holds) == (True, True)
    assert "same tasks and noise, and the means are equal up to rounding" in str(equal)
    near = judge(claim(0.205, 0.01), found(0.20, 0.01), same_episodes=True)
    assert (near.equal, near.holds) == (False, True)
    assert "the means are not equal up to rounding" in str(near)


def test_without_any_error_only_equal_means_hold() -> None:
    verdict = judge(claim(0.21, 0.0), found(0.20, 0.0), same_episodes=True)
    assert not verdict.holds
    assert verdict.z == math.inf
