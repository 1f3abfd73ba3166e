"""A training and an evaluation on a real Ray cluster of two nodes, which loses a collector and then a node."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ray", reason="needs the extra ray")

from agents.episodes import Training
from agents.files import CHECKPOINT
from agents.thompson import ThompsonSampling
from agents.training import train
from steer_env.evaluation.collectors import Collectors
from steer_env.evaluation.on_ray import RayCollectors
from steer_env.evaluation.rollout import make_env
from steer_env.evaluation.suites import evaluate
from steer_env.generators import load_generator
from steer_env.metrics import load_metric
from steer_env.policies import TablePolicy
from steer_env.traces import SteeringTrace, read_traces
from tests.cluster.two_nodes import Node, two_nodes

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

EPISODES, PARTS, PART, COLLECTORS = 96, 4, 4, 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Node, Node]]:
    """For all tests here, of which the last one ends a node of it."""
    with two_nodes() as found:
        yield found


@pytest.fixture
def options() -> Iterator[dict[str, Any]]:
    """An environment's, played with one thread, as collectors with one CPU do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {"rounds": 2, "proposals": 1, "generator": load_generator(), "metric": load_metric()}
    torch.set_num_threads(threads)


class Disturbed:
    """Collectors to whom something happens before the batch of that number is taken from them."""

    def __init__(self, collectors: Collectors, events: dict[int, Callable[[], None]]) -> None:
        self.capacity = collectors.capacity
        self.submit = collectors.submit
        self._collectors, self._events, self._taken = collectors, events, 0

    def next(self) -> list[SteeringTrace]:
        self._events.pop(self._taken, lambda: None)()
        self._taken += 1
        return self._collectors.next()


def learn(folder: Path, options: dict[str, Any], collectors: Collectors | None = None) -> None:
    training = Training(EPISODES, seed=3, batches_per_checkpoint=2, parts=PARTS)
    assert train(ThompsonSampling(2), make_env(PART, **options), training, folder, collectors=collectors)


def test_an_evaluation_on_two_nodes_equals_one_in_a_single_process(
    cluster: tuple[str, Node, Node], options: dict[str, Any]
) -> None:
    policies = [TablePolicy.schedule(str(scale), [scale]) for scale in (0.2, 0.9)]
    with closing(RayCollectors(options, COLLECTORS, cluster[0])) as collectors:
        many = list(evaluate(policies, 15, 2, collectors=collectors, **options))
    assert many == list(evaluate(policies, 15, 2, **options))
    assert [len(traces) for traces in many] == [4] * 7 + [2]


def test_a_training_that_loses_a_collector_and_a_node_equals_one_in_a_single_process(
    cluster: tuple[str, Node, Node], options: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address, head, other = cluster

    def lose_a_collector() -> None:
        head.workers("_Collector")[0].kill()

    def lose_a_node() -> None:
        assert other.workers("_Collector")
        other.kill()

    events = {2 * PARTS: lose_a_collector, 3 * PARTS: lose_a_node}
    with closing(RayCollectors(options, COLLECTORS, address, patience=120)) as collectors:
        learn(tmp_path / "many", options, Disturbed(collectors, events))
    assert not events
    assert "a collector was lost: its 4 episodes are played again" in caplog.text
    learn(tmp_path / "one", options)
    one, many = (json.loads((tmp_path / name / CHECKPOINT).read_text()) for name in ("one", "many"))
    assert many == one
    assert np.sum(many["agent"]["counts"]) == 2 * EPISODES
    traces = read_traces(tmp_path / "many" / "traces")
    assert len({trace.episode_seed for trace in traces}) == len(traces) == EPISODES
    assert traces == read_traces(tmp_path / "one" / "traces")
