"""The batched environment as Stable-Baselines3 wants it: no process per environment, no copy of the dynamics.

It needs ``pip install "steer-env[sb3]"``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from steer_env.envs import SteeringVectorEnv
from steer_env.envs.flat import row_of
from steer_env.evaluation.rollout import Recorder
from steer_env.traces import SteeringTrace


class SteeringVecEnv(VecEnv):
    """N users steering at once, restarted in the step in which their episodes end, with ``terminal_observation``.

    Args:
        env: with ``autoreset_mode`` disabled; this adapter restarts it, so that no image is made for an ignored step.
        next_options: gives the reset options of each batch of episodes; tasks drawn at random by default.
        finished: receives the traces of each batch of episodes.
        policy: what the traces call the policy.
        training_seed: for the traces.

    Raises:
        ValueError: an environment that restarts by itself.
    """

    def __init__(
        self,
        env: SteeringVectorEnv,
        next_options: Callable[[], dict[str, Any]] = dict,
        finished: Callable[[list[SteeringTrace]], None] = lambda _: None,
        policy: str = "sb3",
        training_seed: int = -1,
    ) -> None:
        if env.autoreset_mode != AutoresetMode.DISABLED:
            raise ValueError(f"autoreset_mode must be DISABLED, got {env.autoreset_mode}")
        self.env = env
        self._next_options, self._finished = next_options, finished
        self._policy, self._training_seed = policy, training_seed
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Start all episodes; returns their observations, flat or by name, (N, …) each."""
        seed = self._seeds if any(seed is not None for seed in self._seeds) else None
        observation, _ = self.env.reset(seed=seed, options=self._next_options())
        self._reset_seeds()
        self._recorder = Recorder(self.env)
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions, (N,)."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play the round; episodes of a batch all end in the same step."""
        observation, rewards, terminated, _, batch = self.env.step(self._actions)
        self._recorder.add(self.env.last_outcome)
        infos = [
            {name: values[i] for name, values in batch.items() if not name.startswith("_")}
            for i in range(self.num_envs)
        ]
        if terminated.all():
            for i, info in enumerate(infos):
                info["terminal_observation"] = row_of(observation, i)
                info["TimeLimit.truncated"] = False
            self._finished(self._recorder.traces(self._policy, self._training_seed))
            observation = self.reset()
        return observation, rewards.astype(np.float32), terminated, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batched environment's attribute, once for each index."""
        return [self.env.get_attr(attr_name)[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set it for all episodes: they share one environment."""
        self.env.set_attr(attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **options: Any) -> list[Any]:
        """Call the batched environment's method, once for all."""
        returned = self.env.call(method_name, *args, **options)
        return [returned[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        """No episode has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One frame an episode; None without a render mode."""
        return self.env.render() or [None] * self.num_envs
