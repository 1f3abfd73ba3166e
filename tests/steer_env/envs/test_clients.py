"""Libraries that nobody here wrote play the environment as it is; docs/clients.md says what to write."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from gymnasium.vector import AsyncVectorEnv, VectorEnv
from gymnasium.wrappers import vector as vector_wrappers

from steer_env.envs import ImageSteeringEnv, ImageSteeringVectorEnv, TextSteeringEnv
from tests.conftest import BLOTS

ID = "steer_env:steer_env/ImageSteering-v0"
SMALL = {"observe": ("embedding",), "reward": "increment"}


def test_gymnasiums_wrappers() -> None:
    env: Any = gym.make(ID, rounds=3, **SMALL)
    env = wrappers.TransformReward(wrappers.TimeAwareObservation(wrappers.FlattenObservation(env)), lambda r: 10 * r)
    env = wrappers.NormalizeObservation(wrappers.FrameStackObservation(env, 2))
    assert env.observation_space.shape == (2, 4 + 2 + 96 + 1)
    env.reset(seed=0)
    for step in range(3):
        observation, *_, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observation.shape == env.observation_space.shape
        assert (terminated, truncated) == (step == 2, False)


def test_a_flat_observation_holds_the_named_parts_in_their_order() -> None:
    options: dict[str, Any] = {"observe": ("latent", "embedding"), "rounds": 2}
    named, flat = ImageSteeringEnv(named=True, **options), ImageSteeringEnv(**options)
    observation, parts = flat.reset(seed=3)[0], named.reset(seed=3)[0]
    for action in (9, None):
        one_hots = np.concatenate([np.eye(3)[parts["round"]], np.eye(2)[parts["stayed"]]])
        np.testing.assert_array_equal(
            observation, np.concatenate([one_hots, parts["embedding"], parts["latent"].ravel()])
        )
        assert observation in flat.observation_space
        if action:
            observation, parts = flat.step(action)[0], named.step(action)[0]
    assert flat.observation_space.low.tolist() == [0] * 5 + [-1] * 96 + [-10] * parts["latent"].size
    assert isinstance(TextSteeringEnv(rounds=2).observation_space, gym.spaces.Box)
    for parts in (ImageSteeringEnv(observe=("image",)), TextSteeringEnv(observe=("prompt",))):
        assert isinstance(parts.observation_space, gym.spaces.Dict)


@pytest.mark.parametrize("kind", ["sync", "vector_entry_point"])
def test_cleanrl(kind: Any) -> None:
    """What ppo.py and dqn.py do: statistics, float32 vectors into an MLP, int64 actions out of it."""
    envs = gym.make_vec(ID, num_envs=2, vectorization_mode=kind, **SMALL)
    envs = vector_wrappers.RecordEpisodeStatistics(vector_wrappers.NormalizeObservation(envs))
    width = int(np.prod(envs.single_observation_space.shape))
    network = torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.Tanh(), torch.nn.Linear(8, 10))
    observation, _ = envs.reset(seed=1)
    for _ in range(4):
        logits = network(torch.Tensor(observation))
        actions = torch.distributions.Categorical(logits=logits).sample()
        observation, _, terminated, truncated, infos = envs.step(actions.numpy())
    assert terminated.all()
    assert not truncated.any()
    assert infos["episode"]["l"].tolist() == [4, 4]


def test_stable_baselines3() -> None:
    from stable_baselines3 import DQN, PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

    from steer_env.sb3 import SteeringVecEnv

    PPO("MlpPolicy", VecNormalize(make_vec_env(ID, 2)), n_steps=4, batch_size=8, n_epochs=1).learn(8)
    PPO("MlpPolicy", VecFrameStack(make_vec_env(ID, 1), 2), n_steps=4, batch_size=4, n_epochs=1).learn(4)
    batch = SteeringVecEnv(gym.make_vec(ID, num_envs=2, autoreset_mode="Disabled"))
    assert batch.get_attr("observation_space", 0) == [batch.observation_space]
    DQN("MlpPolicy", VecNormalize(batch), learning_starts=4, batch_size=4, buffer_size=20).learn(8)


class TestVectorForm:
    def test_calls_and_attributes(self) -> None:
        envs = gym.make_vec(ID, num_envs=2, render_mode="rgb_array")
        envs.reset(seed=[np.int64(1), np.int64(2)])
        assert VectorEnv in ImageSteeringVectorEnv.__bases__, "skrl looks there"
        assert envs.call("dynamics") == envs.get_attr("dynamics") == (envs.dynamics,) * 2
        assert envs.get_attr("observation_space") == (envs.single_observation_space,) * 2
        assert [frame.ndim for frame in envs.call("render")] == [3, 3]
        envs.set_attr("note", ["a", "a"])
        assert envs.get_attr("note") == ("a", "a")
        with pytest.raises(ValueError, match=r"2 environments share one note: set one value, got \['a', 'b'\]"):
            envs.set_attr("note", ["a", "b"])

    @pytest.mark.slow
    def test_processes_of_their_own(self) -> None:
        envs = AsyncVectorEnv([lambda: gym.make(ID, **BLOTS)] * 2, context="spawn")
        envs.reset(seed=0)
        assert envs.step(np.array([1, 2]))[0].shape == (2, 7)
        envs.close()


@pytest.mark.parametrize("env", [ImageSteeringEnv, TextSteeringEnv])
def test_infos_have_the_same_keys_at_reset_and_step(env: Any) -> None:
    env = env(judges=("pixel-correlation",))
    _, first = env.reset(seed=0)
    *_, later = env.step(env.action_space.sample())
    assert {name: np.shape(value) for name, value in first.items()} == {
        name: np.shape(value) for name, value in later.items()
    }
    assert {type(first[name]) for name in first} == {type(later[name]) for name in later}
    assert set(first["similarities"]) == {first["similarity"]}


@pytest.mark.parametrize("action", ["bucket", "scale"])
def test_keys_play_every_scale(action: str) -> None:
    env = gym.make(ID, render_mode="rgb_array", action=action)
    env.reset(seed=0)
    keys = env.get_wrapper_attr("get_keys_to_action")()
    assert sorted(keys) == list("0123456789")
    assert all(value in env.action_space for value in keys.values())
    *_, info = env.step(keys["3"])
    assert info["mixture_scale"] == pytest.approx(0.3)


def test_nothing_is_printed_but_one_short_line_about_a_prompt_that_is_cut() -> None:
    program = f"""
import gymnasium
env = gymnasium.make({ID.replace("Image", "Text")!r})
env.reset(seed=0)
env.step("tiles " * 150)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("the text encoder reads 20 tokens: 132 of 'tiles tiles")
    assert len(line) < 120


def test_skrl() -> None:
    skrl = pytest.importorskip("skrl.envs.wrappers.torch")
    for env in (gym.make(ID), gym.make_vec(ID, num_envs=2), ImageSteeringEnv()):
        wrapped = skrl.wrap_env(env, verbose=False)
        wrapped.reset()
        observation, reward, *_ = wrapped.step(torch.zeros(wrapped.num_envs, 1, dtype=torch.int64))
        assert observation.shape == (wrapped.num_envs, 7)
        assert reward.shape == (wrapped.num_envs, 1)


def test_torchrl() -> None:
    torchrl = pytest.importorskip("torchrl.envs")
    assert torchrl.GymEnv(ID, **SMALL).rollout(4)["observation"].shape == (4, 103)
    envs = gym.make_vec(ID, num_envs=2, autoreset_mode="SameStep")
    assert torchrl.GymWrapper(envs).rollout(4)["observation"].shape == (2, 4, 7)


def test_minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make(ID, **SMALL), record_infos=True)
    env.reset(seed=0)
    for _ in range(4):
        env.step(3)
    env.reset()
    dataset = env.create_dataset("steering/test-v0")
    (episode,) = dataset.iterate_episodes()
    assert episode.infos["similarity"].shape == (5,)
    assert episode.rewards.sum() == pytest.approx(episode.infos["improvement"][-1])
    assert dataset.recover_environment().observation_space == env.observation_space


def test_tianshou() -> None:
    pytest.importorskip("tianshou")
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.data import Collector
    from tianshou.env import DummyVectorEnv
    from tianshou.utils.net.common import Net

    env = DummyVectorEnv([lambda: gym.make(ID)] * 2)
    network = Net(state_shape=(7,), action_shape=10, hidden_sizes=[8])
    policy = DiscreteActorPolicy(actor=network, action_space=env.action_space[0])
    assert Collector(policy, env).collect(n_episode=2, reset_before_collect=True).lens.tolist() == [4, 4]


def test_rllib() -> None:
    pytest.importorskip("tree")
    catalog = pytest.importorskip("ray.rllib.algorithms.ppo.ppo_catalog")
    env, settings = gym.make(ID), {"fcnet_hiddens": [8], "fcnet_activation": "tanh", "vf_share_layers": True}
    encoder = catalog.PPOCatalog(env.observation_space, env.action_space, settings)
    network = encoder.build_actor_critic_encoder("torch")
    assert network({"obs": torch.tensor(env.reset()[0])[None]})["encoder_out"]["actor"].shape == (1, 8)
