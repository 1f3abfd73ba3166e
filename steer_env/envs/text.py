"""Many users steering at once by writing prompts: a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from typing_extensions import Unpack

from steer_env.envs.arguments import SteeringArguments, TextArguments, check_arguments
from steer_env.envs.base import FIRST_SEED, OBSERVABLE, SteeringVectorEnv
from steer_env.humans.choosers import NewestImageHuman
from steer_env.humans.prompts import CHARACTERS
from steer_env.limits import whole
from steer_env.registry import Registry
from steer_env.types import GuidedGenerator, RoundOutcome, Studio

CHOOSABLE = Registry("setting", {"seed": "of the attempt's latent", "guidance": "scale of classifier-free guidance"})
"""What users may set besides the prompt (paper, B.3 and B.4)."""

GUIDANCE = (1.0, 10.0)
"""Least and greatest scale, as in the paper's survey; 1 is none."""

LONGEST = 1_000_000
"""Characters that a prompt may be allowed."""
_SEEDS = 2**31
_STREAM = 0x5EED


class TextSteeringVectorEnv(SteeringVectorEnv, VectorEnv):
    """N users steering at once by writing prompts.

    The card of the environment is in :class:`steer_env.envs.TextSteeringEnv`, whose arguments this class shares.

    Args:
        num_envs: N.
        max_length: of a prompt, in characters.
        choose: names of ``CHOOSABLE``, which are then part of the action.
        **shared: see :class:`SteeringVectorEnv`.

    Raises:
        ValueError: an unknown argument, name or option, or a value that one can't have, such as guidance that the
            generator doesn't have.
    """

    observable = Registry("observation", {"prompt": "of the current image", **OBSERVABLE})

    def __init__(
        self,
        num_envs: int = 1,
        max_length: int = 1000,
        choose: Sequence[str] = (),
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **shared: Unpack[SteeringArguments],
    ) -> None:
        check_arguments(TextArguments, {"max_length": max_length, "choose": choose, **shared})
        whole("max_length", max_length, 1, LONGEST)
        for setting in choose:
            CHOOSABLE[setting]
        self._prompt_space = spaces.Text(max_length, charset=CHARACTERS)
        self.choose = tuple(setting for setting in CHOOSABLE if setting in choose)
        super().__init__(num_envs, autoreset_mode=autoreset_mode, **shared)

    @property
    def mechanism_id(self) -> str:
        """See :class:`SteeringVectorEnv`."""
        chosen = [f"choosing {' and '.join(self.choose)}"] if self.choose else []
        return " ".join(["text", *([f"seeds={self.seeds}"] if self.seeds else []), *chosen])

    def _way(self, studio: Studio) -> dict[str, Any]:
        if "guidance" in self.choose and not isinstance(studio.generator, GuidedGenerator):
            raise ValueError(f"users can't choose the guidance of generator {studio.generator.id}, which has none")
        return {"human": NewestImageHuman(), "proposals": 1}

    def _action_space(self) -> spaces.Space:
        if not self.choose:
            return self._prompt_space
        settings = {name: self.setting_spaces[name] for name in self.choose}
        return spaces.Dict({"prompt": self._prompt_space, **settings})

    @cached_property
    def setting_spaces(self) -> dict[str, spaces.Space]:
        """By name of ``CHOOSABLE``, what may be chosen."""
        seeds = spaces.Discrete(self.seeds, start=FIRST_SEED) if self.seeds else spaces.Discrete(_SEEDS)
        return {"seed": seeds, "guidance": spaces.Box(*GUIDANCE, (), np.float32)}

    def first_settings(self, row: int) -> dict[str, Any]:
        """What the first image of an episode was made with, by name of ``choose``."""
        task, generator = self.dynamics.tasks[row], self.dynamics.generator
        assert task is not None
        first: dict[str, Any] = {"seed": task.initial_seed}
        if isinstance(generator, GuidedGenerator):
            first["guidance"] = float(generator.guidance_scale)
        return {name: first[name] for name in self.choose}

    def _observation_space(self) -> spaces.Dict:
        written = {"prompt": self._prompt_space} if "prompt" in self._observe else {}
        return spaces.Dict({**super()._observation_space(), **written})

    def _play(self, actions: Any, rows: np.ndarray) -> RoundOutcome:
        prompts, settings = self._taken_apart(actions, rows)
        seeds = settings["seed"] if "seed" in settings else self._drawn(rows)
        return self.dynamics.rewrite(prompts, rows, seeds, settings.get("guidance"))

    def _taken_apart(self, actions: Any, rows: np.ndarray) -> tuple[list[str], dict[str, list[Any]]]:
        """The rows' prompts, and by name of ``choose`` the rows' settings, all checked."""
        expected = {"prompt", *self.choose}
        parts: Any = actions if self.choose else {"prompt": actions}
        if not isinstance(parts, Mapping) or parts.keys() != expected:
            got = sorted(parts) if isinstance(parts, Mapping) else repr(parts)
            raise ValueError(f"an action is a dict of {', '.join(sorted(expected))}, got {got}")
        for name, values in parts.items():
            if not isinstance(values, list | tuple | np.ndarray) or len(values) != self.num_envs:
                count = len(values) if isinstance(values, list | tuple | np.ndarray) else repr(values)[:60]
                raise ValueError(f"{self.num_envs} environments need as many {name}s, got {count}")
        settings = {name: [self._in_range(name, parts[name][row]) for row in rows] for name in self.choose}
        return [self._checked(parts["prompt"][row]) for row in rows], settings

    def _in_range(self, name: str, value: Any) -> Any:
        space, number = self.setting_spaces[name], np.asarray(value)
        if isinstance(space, spaces.Box) and number.dtype.kind in "iuf":
            number = number.astype(np.float32)
        if not space.contains(number):
            raise ValueError(f"{name} must be in {space}, got {value!r}")
        return number.item()

    def _drawn(self, rows: np.ndarray) -> list[int] | None:
        """Seeds of the next images, each as likely as any other that the model has."""
        if not self.seeds:
            return None
        places = [(_STREAM, self.dynamics.seeds[row], self.dynamics.rounds[row]) for row in rows]
        return [FIRST_SEED + int(np.random.default_rng(place).integers(self.seeds)) for place in places]

    def _start(self, rows: np.ndarray, options: dict[str, Any]) -> dict[str, Any]:
        infos = super()._start(rows, options)
        for row in rows:
            self._checked(self.dynamics.prompts[row])
        return infos

    def _checked(self, prompt: Any) -> Any:
        """The prompt, if it may be played; what isn't a string the dynamics refuse."""
        if not isinstance(prompt, str):
            return prompt
        if not prompt:
            raise ValueError("a prompt must not be empty")
        if len(prompt) > self._prompt_space.max_length:
            allowed = self._prompt_space.max_length
            raise ValueError(f"a prompt has {len(prompt)} characters, max_length allows {allowed}: {prompt[:40]!r}…")
        strange = sorted(set(prompt) - self._prompt_space.character_set)
        if strange:
            raise ValueError(f"prompt {prompt!r} holds {strange[0]!r}; allowed are steer_env.humans.prompts.CHARACTERS")
        return str(prompt)

    def observe(self) -> dict[str, Any]:
        """The round, and what is observed besides."""
        written = {"prompt": tuple(self.dynamics.prompts)} if "prompt" in self._observe else {}
        return {**super().observe(), **written}
