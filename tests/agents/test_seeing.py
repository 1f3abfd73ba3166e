"""Agents that see and decide more than scales: what is exported of them is what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

pytest.importorskip("onnx", reason='needs pip install "steer-env[onnx]"')
pytest.importorskip("onnxruntime", reason='needs pip install "steer-env[onnx]"')
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from agents.episodes import Training
from agents.exports import exported
from agents.sb3 import ALGORITHMS, check_algorithm, train_sb3
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import make_env, options_for, play
from steer_env.policies import read_policy
from steer_env.policies.networks import NetworkPolicy
from steer_env.sb3 import SteeringVecEnv
from steer_env.traces import read_traces

DIRECTIONS = "directions:dimensions=4"
OBSERVE = ["embedding", "history"]
ROLLOUT: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1}
REPLAY: dict[str, Any] = {"learning_starts": 4, "batch_size": 4, "buffer_size": 50}
LSTM: dict[str, Any] = {**ROLLOUT, "policy_kwargs": {"lstm_hidden_size": 8}}
CASES = [
    ("ppo", DIRECTIONS, ROLLOUT),
    ("ppo", "bucket", ROLLOUT),
    ("a2c", "scale", {"n_steps": 4}),
    ("dqn", "bucket", REPLAY),
    ("recurrent-ppo", DIRECTIONS, LSTM),
    ("recurrent-ppo", "bucket", LSTM),
    ("sac", DIRECTIONS, REPLAY),
    ("td3", "scale", REPLAY),
]


def batch(action: str, n: int = 2) -> ImageSteeringVectorEnv:
    return ImageSteeringVectorEnv(
        n, action=action, observe=OBSERVE, rounds=2, reward="increment", autoreset_mode=AutoresetMode.DISABLED
    )


@pytest.fixture(scope="module")
def environments() -> dict[str, VecNormalize]:
    """Of each kind of action, with statistics that do something."""
    made = {}
    for action in (DIRECTIONS, "bucket", "scale"):
        env = VecNormalize(SteeringVecEnv(batch(action)))
        size = env.observation_space.shape
        env.obs_rms.mean = np.random.default_rng(1).normal(size=size) * 0.1
        env.obs_rms.var = np.random.default_rng(2).uniform(0.01, 2, size=size)
        made[action] = env
    return made


@pytest.mark.parametrize(("algorithm", "action", "settings"), CASES)
def test_the_export_equals_predict_on_a_thousand_observations(
    algorithm: str, action: str, settings: dict[str, Any], environments: dict[str, VecNormalize]
) -> None:
    env = environments[action]
    kind: Any = ALGORITHMS[algorithm]
    network = "MlpLstmPolicy" if algorithm == "recurrent-ppo" else "MlpPolicy"
    model: BaseAlgorithm = kind(network, env, seed=0, device="cpu", **settings)
    for weights in model.policy.parameters():
        weights.data.mul_(3)  # so that something is clipped, and the memory matters
    policy = exported(model, env, action, OBSERVE, "mine", 0)
    rng = np.random.default_rng(0)
    seen = rng.uniform(-1, 1, (1000, *env.observation_space.shape)).astype(np.float32)
    if algorithm == "recurrent-ppo":
        seen = seen.reshape(4, 250, -1)  # four rounds, so that states go on
    state: Any = None
    states = {
        name: np.zeros((250, *s), np.float32) for name, s in policy.signature.inputs.items() if name != "observation"
    }
    for place, part in enumerate(seen if algorithm == "recurrent-ppo" else [seen]):
        begins = np.full(len(part), place == 0)
        expected, state = model.predict(env.normalize_obs(part), state, begins, deterministic=True)
        found = []
        policy._states = states
        for row in range(len(part)):
            found.append(policy._run({"observation": part[row : row + 1]}, row)[0])
        if isinstance(env.action_space, spaces.Discrete):
            np.testing.assert_array_equal(np.ravel(found), expected)
        else:
            np.testing.assert_allclose(np.array(found).reshape(expected.shape), expected, atol=1e-5)
            assert len(np.unique(expected)) > 100


def test_a_trained_agent_is_played_as_it_was_exported(tmp_path: Path) -> None:
    policy = train_sb3("ppo", ROLLOUT, batch(DIRECTIONS), Training(4, 3), tmp_path, "mine")
    assert isinstance(policy, NetworkPolicy)
    assert (policy.action, policy.observe, policy.training_seed) == (DIRECTIONS, ("embedding", "history"), 3)
    assert len(read_traces(tmp_path / "traces")) == 4
    policy.save(tmp_path / "policy")
    stored = read_policy(tmp_path / "policy")
    options = options_for([stored], {"rounds": 2, "suite": "tiles-val-v1"})
    traces = play(make_env(2, **options), [stored], [0, 1], [5, 6])
    assert traces[0].mechanism == "directions:dimensions=4,leash=0.9"
    # It goes on from its last checkpoint, statistics and all.
    again = train_sb3("ppo", ROLLOUT, batch(DIRECTIONS), Training(4, 3), tmp_path, "mine")
    assert again is not None
    assert again.content() == policy.content()


@pytest.mark.parametrize(
    ("algorithm", "action", "message"),
    [
        ("sac", "bucket", "agent sac needs env.action=scale, directions or proposals, got bucket"),
        ("dqn", "scale", "agent dqn needs env.action=bucket, got scale"),
    ],
)
def test_algorithms_that_know_one_kind_of_action(
    algorithm: str, action: str, message: str, environments: dict[str, VecNormalize]
) -> None:
    env: Any = environments[action].venv
    with pytest.raises(ValueError, match=message):
        check_algorithm(algorithm, {}, env.env)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": 1}, "unknown setting of ppo 'learning_rat'; did you mean 'learning_rate'"),
        ({"device": "cuda"}, "unknown setting of ppo 'device'"),
        ({"tensorboard_log": "x"}, "unknown setting of ppo 'tensorboard_log'"),
        ({"learning_rate": "word"}, "agent.settings, or seed, are none that ppo can use: .* learning rate .* not word"),
        ({"n_steps": 0}, "agent.settings, or seed, are none that ppo can use: .*n_steps"),
        ({"policy_kwargs": {"net_arch": ["a"]}}, "agent.settings, or seed, are none that ppo can use: "),
    ],
)
def test_settings_are_refused_before_anything_is_made(
    settings: dict[str, Any], message: str, environments: dict[str, VecNormalize]
) -> None:
    env: Any = environments["scale"].venv
    with pytest.raises(ValueError, match=message):
        check_algorithm("ppo", settings, env.env)
    with pytest.raises(ValueError, match=r"or seed, are none that ppo can use: .* between 0 and 2"):
        check_algorithm("ppo", {}, env.env, 2**40)
