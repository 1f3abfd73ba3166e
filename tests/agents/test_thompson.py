from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from agents.thompson import ThompsonSampling
from steer_env.policies import Observation
from steer_env.traces import SteeringTrace
from tests.steer_env.test_traces import TRACE


def episode(scales: Sequence[float], choices: Sequence[int], improvement: float) -> SteeringTrace:
    similarities = [0.0] * len(scales) + [improvement]
    return replace(TRACE, scales=list(scales), choices=list(choices), similarities=similarities)


def observe(episodes: int, round: int, stayed: int) -> Observation:
    return {"round": np.full(episodes, round), "stayed": np.full(episodes, stayed)}


def test_the_posterior_is_that_of_eq_9() -> None:
    """Draws for one cell follow N(empirical mean, σ² / (n + 1)): a Kolmogorov-Smirnov test on each bucket's share."""
    agent = ThompsonSampling(rounds=1, prior_variance=0.25)
    for improvement in (0.1, 0.5):
        agent.update([episode([0.3], [1], improvement)])
    assert agent.means[0, 0, 2] == pytest.approx(0.3)
    assert agent.deviations[0, 0, 2] == pytest.approx((0.25 / 3) ** 0.5)
    assert agent.deviations[0, 0, 0] == pytest.approx(0.5)
    draws = agent.means[0, 0, 2] + agent.deviations[0, 0, 2] * np.random.default_rng(0).standard_normal(5000)
    assert stats.kstest(draws, stats.norm(0.3, (0.25 / 3) ** 0.5).cdf).pvalue > 1e-4


def test_a_bucket_is_played_as_often_as_its_posterior_is_the_largest() -> None:
    agent = ThompsonSampling(rounds=1)
    agent.counts[0, 0] = 100_000
    agent.counts[0, 0, [1, 7]] = 3
    agent.sums[0, 0] = -5.0 * agent.counts[0, 0]
    agent.sums[0, 0, [1, 7]] = [0.0, 1.5]
    policy = agent.explore(20_000, np.random.default_rng(0))
    share = (policy.act(observe(20_000, 0, 0)) == 0.8).mean()
    # Two normal means, 0 and 0.5, each of variance 1 / 4.
    expected = stats.norm.cdf(0.5 / (1 / 4 + 1 / 4) ** 0.5)
    assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 20_000) ** 0.5)


@pytest.mark.parametrize(("cells", "places"), [("round", [0, 0, 0]), ("round-stayed", [0, 1, 0])])
def test_an_episode_is_credited_to_every_cell_that_it_played(cells: str, places: list[int]) -> None:
    agent = ThompsonSampling(rounds=3, cells=cells)
    agent.update([episode([0.1, 1.0, 0.4], [0, 2, 0], 0.2)])
    expected = np.zeros((3, 2, 10), dtype=int)
    for round, (stayed, bucket) in enumerate(zip(places, (0, 9, 3), strict=True)):
        expected[round, stayed, bucket] = 1
    assert np.array_equal(agent.counts, expected)
    np.testing.assert_allclose(agent.sums, 0.2 * expected)


def test_eq_9_as_printed_does_not_look_at_stayed() -> None:
    agent = ThompsonSampling(rounds=2, cells="round")
    for bucket in range(10):
        agent.update([episode([0.1 * (bucket + 1)] * 2, [0, 0], bucket / 10)])
    policy = agent.explore(50, np.random.default_rng(0))
    assert np.array_equal(policy.act(observe(50, 1, 0)), policy.act(observe(50, 1, 1)))
    assert agent.policy("learned").scales.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_the_learned_policy_plays_the_largest_empirical_mean() -> None:
    agent = ThompsonSampling(rounds=2)
    agent.update([episode([0.2, 0.7], [1, 1], 0.3), episode([0.4, 0.1], [0, 1], 0.1), episode([0.4, 0.9], [0, 0], 0.0)])
    assert agent.policy("learned", 5).scales[0, 0] == 0.2
    assert agent.policy("learned", 5).scales[1].tolist() == [0.7, 0.1]
    assert agent.policy("learned", 5).training_seed == 5


def test_a_cell_that_was_never_visited_plays_what_the_other_one_of_its_round_plays() -> None:
    agent = ThompsonSampling(rounds=1)
    agent.update([episode([0.6], [1], 0.1)])
    assert agent.policy("learned").scales.tolist() == [[0.6, 0.6]]


def test_it_learns_which_scale_is_best_in_each_cell() -> None:
    """A bandit of known means, played in batches of 20: the best scale depends on the round and on having stayed."""
    rng = np.random.default_rng(0)
    best = np.array([[0.9, 0.9], [0.3, 0.7]])
    agent = ThompsonSampling(rounds=2, prior_variance=0.05)
    for _ in range(400):
        policy = agent.explore(20, rng)
        stayed = rng.integers(0, 2, 20)
        first = policy.act(observe(20, 0, 0))
        second = policy.act({"round": np.ones(20, int), "stayed": stayed})
        rewards = -np.abs(first - 0.9) - 2 * np.abs(second - best[1, stayed]) + 0.05 * rng.standard_normal(20)
        agent.update(
            [
                episode([a, b], [int(not s), 1], reward)
                for a, b, s, reward in zip(first, second, stayed, rewards, strict=True)
            ]
        )
    assert agent.policy("learned").scales.tolist() == best.tolist()


def test_state_is_json_and_restores() -> None:
    agent, again = ThompsonSampling(), ThompsonSampling()
    agent.update([episode([0.1, 0.2, 0.3, 0.4], [0, 1, 2, 0], 0.123456789)])
    again.restore(agent.state())
    assert np.array_equal(agent.sums, again.sums)
    assert np.array_equal(agent.counts, again.counts)


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown kind of cell 'rounds'; did you mean 'round'"):
        ThompsonSampling(cells="rounds")
    with pytest.raises(ValueError, match="prior_variance must be positive, got 0"):
        ThompsonSampling(prior_variance=0)
    with pytest.raises(ValueError, match=r"the state is for cells \(4, 2, 10\), this agent has \(3, 2, 10\)"):
        ThompsonSampling(rounds=3).restore(ThompsonSampling(rounds=4).state())
    with pytest.raises(RuntimeError, match="nothing has been learned yet"):
        ThompsonSampling().policy("learned")
