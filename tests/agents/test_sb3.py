import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecMonitor

from agents import progress, sb3
from agents.episodes import EpisodeStream, Training
from agents.files import CHECKPOINT, RunExistsError
from agents.sb3 import greedy_histories, greedy_table, train_sb3
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import make_env, play
from steer_env.policies import TablePolicy
from steer_env.sb3 import SteeringVecEnv
from steer_env.traces import SteeringTrace, read_traces
from tests.conftest import BLOTS

SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 8, "batch_size": 16},
    "a2c": {"n_steps": 4},
    "dqn": {"learning_starts": 8, "batch_size": 8, "buffer_size": 100},
    "recurrent-ppo": {"n_steps": 8, "batch_size": 16, "n_epochs": 2, "policy_kwargs": {"lstm_hidden_size": 8}},
}


def batch(n: int = 4, **options: Any) -> ImageSteeringVectorEnv:
    return ImageSteeringVectorEnv(n, named=True, autoreset_mode=AutoresetMode.DISABLED, **BLOTS, **options)


def test_it_plays_the_episodes_of_the_batched_environment() -> None:
    """The same tasks, noise and scales as a policy played by the evaluator: the same traces."""
    found: list[SteeringTrace] = []
    options = EpisodeStream(seed=1, tasks=100).options(0, 4)
    env = SteeringVecEnv(batch(), lambda: options, found.extend, "constant", 5)
    env.reset()
    for _ in range(4):
        env.step(np.full(4, 6))
    constant = TablePolicy("constant", np.full((4, 2), 0.7), training_seed=5)
    expected = play(make_env(4, **BLOTS), [constant], options["task_index"], options["episode_seed"])
    # An algorithm that explores doesn't say how likely its actions were.
    assert found == [replace(trace, propensities=[]) for trace in expected]


@pytest.mark.parametrize("reward", ["final", "increment"])
def test_terminal_observations_are_those_before_the_restart(reward: str) -> None:
    env = SteeringVecEnv(batch(3, reward=reward))
    observation = env.reset()
    assert observation["round"].tolist() == [0, 0, 0]
    totals = np.zeros(3)
    for place in range(4):
        observation, rewards, dones, infos = env.step(np.array([2, 5, 9]))
        totals += rewards
        assert rewards.dtype == np.float32
        assert dones.tolist() == [place == 3] * 3
    assert observation["round"].tolist() == [0, 0, 0]
    for i, info in enumerate(infos):
        assert int(info["terminal_observation"]["round"]) == 4
        assert int(info["terminal_observation"]["stayed"]) == int(info["choice"] == 0)
        assert info["TimeLimit.truncated"] is False
        assert info["improvement"] == pytest.approx(totals[i], abs=1e-6)


def test_sb3s_own_monitor_counts_episodes() -> None:
    env = VecMonitor(SteeringVecEnv(batch(2, reward="increment")))
    env.reset()
    for _ in range(4):
        _, _, _, infos = env.step(np.array([3, 3]))
    assert [info["episode"]["l"] for info in infos] == [4, 4]
    assert infos[0]["episode"]["r"] == pytest.approx(infos[0]["improvement"], abs=1e-5)


def test_seeding_through_sb3_repeats_episodes() -> None:
    env = SteeringVecEnv(batch(2))
    first = []
    for _ in range(2):
        env.seed(7)
        env.reset()
        first.append([task and task.goal_prompt for task in env.env.dynamics.tasks])
    assert first[0] == first[1]


def test_an_environment_that_restarts_by_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="autoreset_mode must be DISABLED"):
        SteeringVecEnv(ImageSteeringVectorEnv(1))


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_training_plays_its_episodes_and_leaves_a_table(algorithm: str, tmp_path: Path) -> None:
    policy = train_sb3(algorithm, SETTINGS[algorithm], batch(), Training(8, 3), tmp_path, "mine")
    assert policy is not None
    assert [len(row) for row in policy.rows] == ([1, 2, 4, 8] if algorithm == "recurrent-ppo" else [2, 2, 2, 2])
    assert policy.training_seed == 3
    traces = read_traces(tmp_path / "traces")
    assert len(traces) == 8
    assert len({trace.task_index for trace in traces}) == 8
    again = train_sb3(algorithm, SETTINGS[algorithm], batch(), Training(8, 3), tmp_path / "again", "mine")
    assert again is not None
    assert again.rows == policy.rows
    assert read_traces(tmp_path / "again" / "traces") == traces


def test_a_stopped_training_goes_on_from_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([False] * 9 + [True] * 100)
    with monkeypatch.context() as patch:
        patch.setattr(sb3, "interruptible", lambda: _Asking(lambda: next(asked)))
        assert train_sb3("ppo", SETTINGS["ppo"], batch(), Training(24, 3), tmp_path, "mine") is None
    checkpoint = json.loads((tmp_path / CHECKPOINT).read_text())
    assert checkpoint["episodes"] == 8
    assert train_sb3("ppo", SETTINGS["ppo"], batch(), Training(24, 3), tmp_path, "mine") is not None
    traces = read_traces(tmp_path / "traces")
    stream = EpisodeStream(3, 60_000).options(0, 24)
    assert [trace.task_index for trace in traces] == stream["task_index"], "no episode twice, none left out"
    assert sb3.interruptible is progress.interruptible


class _Asking:
    def __init__(self, asked: Any) -> None:
        self._asked = asked

    def __enter__(self) -> Any:
        return self._asked

    def __exit__(self, *_: object) -> None:
        pass


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    train_sb3("a2c", SETTINGS["a2c"], batch(), Training(4, 0), tmp_path, "mine")
    with pytest.raises(RunExistsError, match="'algorithm': 'a2c'"):
        train_sb3("ppo", SETTINGS["ppo"], batch(), Training(4, 0), tmp_path, "mine")
    with pytest.raises(ValueError, match="unknown algorithm 'pp0'; did you mean 'ppo'"):
        train_sb3("pp0", {}, batch(), Training(4, 0), tmp_path / "other", "mine")


@pytest.mark.parametrize(
    ("kind", "settings"), [(PPO, {"n_steps": 32, "ent_coef": 0.0}), (DQN, {"learning_starts": 64})]
)
def test_the_table_is_what_the_model_would_do(kind: Any, settings: dict[str, Any]) -> None:
    model = kind("MultiInputPolicy", SteeringVecEnv(batch(2)), seed=0, **settings)
    table = greedy_table(model, 4, "mine", 0)
    for place in range(4):
        for stayed in range(2):
            action, _ = model.predict({"round": np.array(place), "stayed": np.array(stayed)}, deterministic=True)
            assert table.scales[place, stayed] == pytest.approx((int(action) + 1) / 10)


def test_the_histories_are_what_a_model_with_a_memory_would_do() -> None:
    settings: dict[str, Any] = {"policy_kwargs": {"lstm_hidden_size": 8}, "n_steps": 8, "batch_size": 8}
    model = RecurrentPPO("MultiInputLstmPolicy", SteeringVecEnv(batch(2)), seed=1, **settings)
    # Weights as large as these make it remember.
    for weights in model.policy.parameters():
        weights.data.mul_(4)
    policy = greedy_histories(model, 4, "mine", 0)
    assert len(set(policy.rows[3])) > 2, "it would be a table over (round, stayed)"
    for course in product([0, 1], repeat=3):
        state: Any = None
        policy.start([0])
        for place, stayed in enumerate((0, *course)):
            seen = {"round": np.array([place]), "stayed": np.array([stayed])}
            bucket, state = model.predict(seen, state, np.array([place == 0]), deterministic=True)
            assert policy.act(seen).tolist() == pytest.approx([(int(bucket[0]) + 1) / 10])
