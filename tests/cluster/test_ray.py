"""Trainings and an evaluation whose images a real Ray cluster of two nodes makes, which loses workers and a node."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from gymnasium.vector import AutoresetMode

pytest.importorskip("ray", reason="needs the extra ray")

from agents.episodes import Training
from agents.files import CHECKPOINT
from agents.planning import PlanningThompson
from agents.sb3 import WEIGHTS, train_sb3
from agents.training import train
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import make_env
from steer_env.evaluation.suites import evaluate
from steer_env.humans import load_prompter
from steer_env.imaging import close_studios, make_studio
from steer_env.policies import TablePolicy
from steer_env.traces import read_traces
from tests.cluster.one_node import wait_until
from tests.cluster.two_nodes import Node, two_nodes
from tests.conftest import BLOTS

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SHARD, WORKERS = 3, 2
BATCH, EPISODES = 8, 32
SMALL: dict[str, Any] = {"rounds": 2, "proposals": 2, **BLOTS}
"""The embedded model takes each worker longer to import than to use; tests/steer_env/imaging has it on Ray."""
PPO = {"n_steps": 4, "batch_size": 8, "n_epochs": 2}
Elsewhere = Callable[..., Any]
"""Makes a studio on the cluster, to which things happen before the picture calls of those numbers."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Node, Node]]:
    """For all tests here, of which the last one ends a node of it."""
    with two_nodes() as found:
        yield found
        close_studios()


@pytest.fixture
def elsewhere(cluster: tuple[str, Node, Node]) -> Iterator[Elsewhere]:
    """One thread, as workers with one CPU have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def make(events: dict[int, Callable[[], None]], *parts: Any) -> Any:
        settings = {"name": "ray", "shard": SHARD, "count": WORKERS, "address": cluster[0], "patience": 120}
        studio = make_studio(settings, *parts)
        picture, calls = studio.picture, iter(range(10_000))

        def disturbed(*arguments: Any, **options: Any) -> Any:
            events.pop(next(calls), lambda: None)()
            return picture(*arguments, **options)

        studio.picture = disturbed  # type: ignore[method-assign]
        return studio

    yield make
    torch.set_num_threads(threads)


def here(*parts: Any) -> Any:
    return make_studio({"name": "here", "shard": SHARD}, *parts)


def learn(studio: Any, folder: Path) -> None:
    training = Training(EPISODES, seed=3, batches_per_checkpoint=2)
    assert train(PlanningThompson(2), make_env(BATCH, studio=studio, **SMALL), training, folder)


def learn_by_ppo(studio: Any, folder: Path) -> None:
    env = ImageSteeringVectorEnv(BATCH, autoreset_mode=AutoresetMode.DISABLED, named=True, studio=studio, **SMALL)
    assert train_sb3("ppo", PPO, env, Training(EPISODES, seed=3, batches_per_checkpoint=2), folder, "ppo")


def equal(one: Path, other: Path) -> None:
    checkpoints = [json.loads((folder / CHECKPOINT).read_text()) for folder in (one, other)]
    assert checkpoints[0] == checkpoints[1]
    assert checkpoints[0]["episodes"] == EPISODES
    traces = read_traces(one / "traces")
    assert traces == read_traces(other / "traces")
    assert len({trace.episode_seed for trace in traces}) == len(traces) == EPISODES


def idle_worker(node: Node) -> psutil.Process:
    idle: list[psutil.Process] = []

    def ready() -> bool:
        # Looked at once: a worker that is idle now may be called a moment later.
        idle.extend(node.idle("_Worker"))
        return bool(idle)

    wait_until(ready, "a worker to be ready", seconds=120)
    return idle[0]


def lose_a_worker(node: Node) -> None:
    idle_worker(node).kill()


def test_an_evaluation_equals_one_in_a_single_process(
    cluster: tuple[str, Node, Node], elsewhere: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    players = [*(TablePolicy.schedule(str(scale), [scale]) for scale in (0.2, 0.9)), load_prompter("blind")]
    events = {4: lambda: lose_a_worker(cluster[1])}
    many = list(evaluate(players, 7, 3, studio=lambda *parts: elsewhere(events, *parts), **SMALL))
    assert not events
    assert "a worker was lost: its 3 images are made again" in caplog.text
    assert many == list(evaluate(players, 7, 3, studio=here, **SMALL))
    assert [len(traces) for traces in many] == [9, 9, 3]


def test_a_training_by_ppo_that_loses_workers_equals_one_in_a_single_process(
    cluster: tuple[str, Node, Node], elsewhere: Elsewhere, tmp_path: Path
) -> None:
    events = {2 + 3 * i: lambda node=node: lose_a_worker(node) for i, node in enumerate(cluster[1:])}
    learn_by_ppo(lambda *parts: elsewhere(events, *parts), tmp_path / "many")
    assert not events
    learn_by_ppo(here, tmp_path / "one")
    equal(tmp_path / "one", tmp_path / "many")
    one, many = (torch.load(tmp_path / name / WEIGHTS, weights_only=True) for name in ("one", "many"))
    assert one["policy"].keys() == many["policy"].keys()
    assert all(torch.equal(values, many["policy"][name]) for name, values in one["policy"].items())


def test_a_training_that_loses_a_worker_and_a_node_equals_one_in_a_single_process(
    cluster: tuple[str, Node, Node], elsewhere: Elsewhere, tmp_path: Path
) -> None:
    _, head, other = cluster

    def lose_a_node() -> None:
        idle_worker(other)
        other.kill()

    events = {3: lambda: lose_a_worker(head), 7: lose_a_node}
    learn(lambda *parts: elsewhere(events, *parts), tmp_path / "many")
    assert not events
    learn(here, tmp_path / "one")
    equal(tmp_path / "one", tmp_path / "many")
