from itertools import product

import numpy as np
import pytest

from agents.bandits import make_bandit
from agents.planning import CREDITS, PlanningThompson
from steer_env.traces import SteeringTrace
from tests.agents.test_thompson import episode

NOISE = 0.05


class World:
    """A small steering problem: gains, and chances of staying, of each (round, stayed, scale)."""

    def __init__(self, rounds: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        centre, height = rng.uniform(0.2, 1, (2, rounds, 2, 1))
        scales = np.arange(1, 11) / 10
        self.gains = 0.1 * height * np.exp(-(((scales - centre) / 0.8) ** 2))
        self.staying = np.clip(rng.uniform(0, 1, (rounds, 2, 1)) * scales, 0.05, 0.95)

    def value(self, table: np.ndarray) -> float:
        """Expected improvement of buckets int (R, 2)."""
        stayed, total = 0.0, 0.0
        for place, (moved_bucket, stayed_bucket) in enumerate(table):
            chances, buckets = (1 - stayed, stayed), (moved_bucket, stayed_bucket)
            total += sum(c * self.gains[place, s, b] for s, (c, b) in enumerate(zip(chances, buckets, strict=True)))
            stayed = sum(c * self.staying[place, s, b] for s, (c, b) in enumerate(zip(chances, buckets, strict=True)))
        return total

    def play(self, agent: PlanningThompson, episodes: int, rng: np.random.Generator) -> list[SteeringTrace]:
        policy, rounds = agent.explore(episodes, rng), len(self.gains)
        policy.start(range(episodes))
        stayed, similarities = np.zeros(episodes, dtype=int), [rng.uniform(0, 0.5, episodes)]
        scales, choices = [], []
        for place in range(rounds):
            scale = policy.act({"round": np.full(episodes, place), "stayed": stayed})
            bucket = np.rint(10 * scale).astype(int) - 1
            gain = self.gains[place, stayed, bucket] + NOISE * rng.standard_normal(episodes)
            similarities.append(similarities[-1] + gain)
            stayed = (rng.random(episodes) < self.staying[place, stayed, bucket]).astype(int)
            scales.append(scale)
            choices.append(1 - stayed)
        played = np.array(scales).T, np.array(choices).T, np.array(similarities).T
        return [
            episode_of(scales, choices, similarities) for scales, choices, similarities in zip(*played, strict=True)
        ]


def episode_of(scales: np.ndarray, choices: np.ndarray, similarities: np.ndarray) -> SteeringTrace:
    trace = episode(scales.tolist(), choices.tolist(), 0.0)
    trace.similarities[:] = similarities.tolist()
    return trace


def buckets(agent: PlanningThompson) -> np.ndarray:
    return np.rint(10 * agent.policy("planned").scales).astype(int) - 1


def trained(world: World, episodes: int, **options: object) -> PlanningThompson:
    agent, rng = PlanningThompson(len(world.gains), **options), np.random.default_rng(5)  # type: ignore[arg-type]
    for _ in range(episodes // 32):
        agent.update(world.play(agent, 32, rng))
    return agent


@pytest.mark.parametrize("pooling", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_it_finds_a_policy_as_good_as_the_best(seed: int, pooling: bool) -> None:
    """Held against all 10³ policies that matter of two rounds: nobody has stayed before the first."""
    world = World(2, seed)
    values = [world.value(np.array([[a, 0], [b, c]])) for a, b, c in product(range(10), repeat=3)]
    assert world.value(buckets(trained(world, 3200, pooling=pooling))) > 0.95 * max(values)
    assert np.quantile(values, 0.8) < 0.95 * max(values)


def test_planning_sees_what_a_round_costs_later() -> None:
    """A scale that gains a little but makes the user stay, after which nothing can be gained."""
    world = World(2, 0)
    world.gains[:] = 0.0
    world.gains[0, 0, 8:] = 0.02
    world.gains[1, 0] = 0.2
    world.staying[:] = 0.05
    world.staying[0, 0, 8:] = 0.95
    assert buckets(trained(world, 1600, pooling=False))[0, 0] < 8
    greedy = World(2, 0)
    greedy.gains[:], greedy.staying[:] = world.gains, world.staying
    greedy.gains[1] = 0.0
    assert buckets(trained(greedy, 1600, pooling=False))[0, 0] >= 8


def test_means_are_those_of_the_world() -> None:
    world = World(2, 1)
    agent = trained(world, 6400, pooling=False)
    often = agent.counts > 200
    assert often.sum() >= 8
    gaps = np.abs(agent.means - world.gains)[often] / agent.deviations[often]
    assert gaps.max() < 4


@pytest.mark.parametrize("credit", CREDITS)
def test_a_state_is_everything(credit: str) -> None:
    world = World(3, 2)
    agent = trained(world, 64, credit=credit)
    other = make_bandit(3, agent.settings)
    other.restore(agent.state())
    observation = {"round": np.full(50, 1), "stayed": np.tile([0, 1], 25)}
    acts = [one.explore(50, np.random.default_rng(0)).act(observation) for one in (agent, other)]
    assert np.array_equal(*acts)
    assert np.array_equal(agent.counts, other.counts)
    assert np.array_equal(agent.policy("planned").scales, other.policy("planned").scales)


def test_every_round_is_counted_once() -> None:
    agent = PlanningThompson(rounds=3)
    agent.update([episode([0.1, 1.0, 0.4], [0, 2, 0], 0.2)])
    expected = np.zeros((3, 2, 10), dtype=int)
    for place, (stayed, bucket) in enumerate([(0, 0), (1, 9), (0, 3)]):
        expected[place, stayed, bucket] = 1
    assert np.array_equal(agent.counts, expected)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="credit"):
        PlanningThompson(credit="reward")
    with pytest.raises(ValueError, match="spread"):
        PlanningThompson(spread="square")
    with pytest.raises(RuntimeError, match="nothing has been learned"):
        PlanningThompson().policy("planned")
    with pytest.raises(ValueError, match="episodes of 2 rounds"):
        PlanningThompson(rounds=4).update([episode([0.1, 0.2], [1, 1], 0.1)])
    with pytest.raises(ValueError, match="this agent's"):
        PlanningThompson(rounds=4).restore(PlanningThompson(rounds=3).state())
