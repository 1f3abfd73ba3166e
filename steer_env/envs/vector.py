"""Many users steering at once by choosing among images: a Gymnasium vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from steer_env.distributions import load_distribution
from steer_env.envs.shell import SteeringVectorEnv
from steer_env.humans import load_human
from steer_env.metrics import load_metric
from steer_env.proposals import BUCKETS, bucket_scales
from steer_env.registry import Registry
from steer_env.types import Human, RoundOutcome, SteeringDistribution, Studio

ACTIONS = Registry("kind of action", {"bucket": "one of 10 mixture scales", "scale": "a mixture scale in [0, 1]"})


class ImageSteeringVectorEnv(SteeringVectorEnv):
    """N users steering at once by choosing among images.

    The card of the environment is in :class:`steer_env.envs.ImageSteeringEnv`, whose arguments this class shares.

    Args:
        num_envs: N.
        human, distribution: names of parts, or parts.
        proposals: K.
        action: a name of ``ACTIONS``.
        human_options, distribution_options: passed to the loaders.
        **shared: see :class:`SteeringVectorEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        human: str | Human = "greedy",
        distribution: str | SteeringDistribution = "mixture",
        proposals: int = 2,
        action: str = "bucket",
        human_options: dict[str, Any] | None = None,
        distribution_options: dict[str, Any] | None = None,
        **shared: Any,
    ) -> None:
        ACTIONS[action]
        self._action, self._proposals = action, proposals
        self._human = human if not isinstance(human, str) else load_human(human, **(human_options or {}))
        self._distribution, self._distribution_options = distribution, dict(distribution_options or {})
        super().__init__(num_envs, **shared)

    @property
    def mechanism(self) -> str:
        """See :class:`SteeringVectorEnv`: the steering distribution."""
        return self.dynamics.distribution.id

    def _mechanism(self, studio: Studio) -> dict[str, Any]:
        distribution, options = self._distribution, self._distribution_options
        if isinstance(distribution, str):
            compares = load_metric(options.pop("metric")) if "metric" in options else studio.metric
            distribution = load_distribution(distribution, studio, compares, **options)
        return {"human": self._human, "proposals": self._proposals, "distribution": distribution}

    def _action_space(self) -> spaces.Space:
        return spaces.Discrete(BUCKETS) if self._action == "bucket" else spaces.Box(0, 1, (1,), np.float32)

    def _observation_space(self) -> spaces.Dict:
        return spaces.Dict({"stayed": spaces.Discrete(2), **super()._observation_space()})

    def _play(self, actions: Any, rows: np.ndarray) -> RoundOutcome:
        actions = np.asarray(actions)
        expected = self.action_space.shape
        if actions.shape != expected:
            raise ValueError(f"{self.num_envs} environments need actions of shape {expected}, got {actions.shape}")
        chosen = actions[rows]
        scales = bucket_scales(chosen) if self._action == "bucket" else chosen[:, 0].astype(np.float64)
        return self.dynamics.step(scales, rows)

    def observe(self) -> dict[str, Any]:
        """The round, whether the user just stayed, and what was asked for."""
        return {**super().observe(), "stayed": self.dynamics.stayed.astype(np.int64)}
