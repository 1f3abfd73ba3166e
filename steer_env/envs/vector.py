"""Many users steering at once by choosing among images: a Gymnasium vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from typing_extensions import Unpack

from steer_env.envs.arguments import ImageArguments, SteeringArguments, check_arguments
from steer_env.envs.base import SteeringVectorEnv
from steer_env.humans import load_human
from steer_env.mechanisms import ACTIONS, load_mechanism
from steer_env.proposals import BUCKETS, bucket_scales
from steer_env.registry import Spec, build, resolve
from steer_env.types import OBSERVATIONS, DirectedMechanism, Human, Mechanism, RoundOutcome, Studio, takes_latents


class ImageSteeringVectorEnv(SteeringVectorEnv, VectorEnv):
    """N users steering at once by choosing among images.

    The card of the environment is in :class:`steer_env.envs.ImageSteeringEnv`, whose arguments this class shares.

    Args:
        num_envs: N.
        human, mechanism: a word such as ``softmax:temperature=0.05``, a mapping, or a part itself.
        proposals: K.
        action: a name of ``ACTIONS``, with options of it, such as ``directions:dimensions=32``.
        **shared: see :class:`SteeringVectorEnv`.

    Raises:
        ValueError: an unknown argument, name or option, or a value that one can't have.
    """

    def __init__(
        self,
        num_envs: int = 1,
        human: Spec[Human] = "greedy",
        mechanism: Spec[Mechanism] = "mixture",
        proposals: int = 2,
        action: str = "bucket",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **shared: Unpack[SteeringArguments],
    ) -> None:
        check_arguments(ImageArguments, {"proposals": proposals, "action": action, **shared})
        self.action, self._proposals = action, proposals
        if resolve(ACTIONS, action)[0].factory and mechanism not in ("mixture", {"name": "mixture"}):
            raise ValueError(f"action={action} is a mechanism of its own: mechanism must be mixture, got {mechanism}")
        self._human, self._mechanism = load_human(human), mechanism
        super().__init__(num_envs, autoreset_mode=autoreset_mode, **shared)

    @property
    def observed(self) -> tuple[str, ...]:
        """What is observed on request."""
        return self._observe

    @property
    def part_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what is observed by name, in the order in which it is joined; numbers count as one-hot vectors."""
        parts = self._parts.spaces
        sizes = {name: (int(part.n),) for name, part in parts.items() if isinstance(part, spaces.Discrete)}
        names = sorted(parts, key=[*OBSERVATIONS, "image"].index)
        return {name: sizes.get(name) or parts[name].shape or () for name in names}

    @property
    def mechanism_id(self) -> str:
        """See :class:`SteeringVectorEnv`."""
        return self.dynamics.mechanism.id

    def _way(self, studio: Studio) -> dict[str, Any]:
        if not takes_latents(studio.generator):
            raise ValueError(
                f"{studio.generator.id} takes no latents, so its images can't be mixed: it is for text steering alone, "
                "by users who write prompts"
            )
        if resolve(ACTIONS, self.action)[0].factory:
            mechanism = build(ACTIONS, self.action, shape=tuple(studio.generator.latent_shape))
        else:
            mechanism = load_mechanism(self._mechanism, studio, **self._where)
        return {"human": self._human, "proposals": self._proposals, "mechanism": mechanism}

    def _action_space(self) -> spaces.Space:
        mechanism = self.dynamics.mechanism
        if isinstance(mechanism, DirectedMechanism):
            return spaces.Box(-1, 1, mechanism.action_shape(self._proposals), np.float32)
        return spaces.Discrete(BUCKETS) if self.action == "bucket" else spaces.Box(0, 1, (1,), np.float32)

    def _observation_space(self) -> spaces.Dict:
        return spaces.Dict({"stayed": spaces.Discrete(2), **super()._observation_space()})

    def _play(self, actions: Any, rows: np.ndarray) -> RoundOutcome:
        actions = np.asarray(actions)
        expected = self.action_space.shape
        if actions.shape != expected:
            raise ValueError(f"{self.num_envs} environments need actions of shape {expected}, got {actions.shape}")
        chosen = actions[rows]
        if self.action == "bucket":
            chosen = bucket_scales(chosen)
        elif self.action == "scale":
            chosen = chosen[:, 0]
        return self.dynamics.step(chosen, rows)

    def observe(self) -> dict[str, Any]:
        """The round, whether the user just stayed, and what is observed besides."""
        return {**super().observe(), "stayed": self.dynamics.stayed.astype(np.int64)}
