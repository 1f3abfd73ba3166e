import math
from dataclasses import asdict
from typing import Any

import pytest
from scipy import stats

from steer_env.evaluation.claims import Claim, judge
from steer_env.evaluation.uncertainty import Estimate


def claim(improvement: float, error: float) -> Claim:
    return Claim("p", "0f", "s", "g", "m", "h", "d", 4, 2, improvement, error, tasks=100, noise=0)


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
    assert "other tasks or noise than the claim's" in str(verdict)


def test_stating_a_large_error_buys_nothing() -> None:
    assert not judge(claim(0.9, 10.0), found(0.2, 0.01), same_episodes=False).holds


def test_few_tasks_buy_nothing() -> None:
    """The same 8 tasks with the same noise have the same mean, however wide its error is."""
    verdict = judge(claim(0.2379, 0.06), found(0.1367, 0.06), same_episodes=True)
    assert not verdict.holds
    assert abs(verdict.z) < 1.96


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error": -0.1}, "error must not be negative, got -0.1"),
        ({"improvement": "good"}, "improvement must be a finite number, got good"),
        ({"metric": 3}, "metric must be 1 to 200 printable characters"),
        ({"tasks": -1}, "tasks must be a whole number of at least 0, got -1"),
        ({"policy": "a\n"}, "name must be 1 to 80 plain characters"),
        ({"versions": 1}, "versions must be a JSON object"),
    ],
)
def test_impossible_claims(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Claim(**(asdict(claim(0.2, 0.01)) | change))


def test_the_same_episodes_should_have_equal_means() -> None:
    equal = judge(claim(0.20005, 0.0), found(0.20, 0.0), same_episodes=True)
    assert (equal.equal, equal.holds) == (True, True)
    assert "same tasks and noise, and the means are equal up to rounding" in str(equal)
    near = judge(claim(0.205, 0.01), found(0.20, 0.01), same_episodes=True)
    assert (near.equal, near.holds) == (False, False)
    assert "the means are not equal up to rounding" in str(near)


def test_without_any_error_only_equal_means_hold() -> None:
    verdict = judge(claim(0.21, 0.0), found(0.20, 0.0), same_episodes=True)
    assert not verdict.holds
    assert verdict.z == math.inf
