"""Many users steering at once by writing prompts: a Gymnasium vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from steer_env.envs.shell import FIRST_SEED, OBSERVABLE, SteeringVectorEnv
from steer_env.humans import Writer
from steer_env.registry import Registry
from steer_env.types import Generator, Metric, RoundOutcome

CHARACTERS = "".join(
    chr(code)
    for codes in (range(0x20, 0x530), range(0x2010, 0x2045), (0x20AC, 0x2122))
    for code in codes
    if chr(code).isprintable()
)
"""What a prompt may hold: the Latin, Greek and Cyrillic scripts, and the punctuation that word processors put."""

_STREAM = 0x5EED


class TextSteeringVectorEnv(SteeringVectorEnv):
    """N users steering at once by writing prompts.

    The card of the environment is in :class:`steer_env.envs.TextSteeringEnv`, whose arguments this class shares.

    Args:
        num_envs: N.
        max_length: of a prompt, in characters.
        **shared: see :class:`SteeringVectorEnv`.

    Raises:
        ValueError: ``max_length`` below 1.
    """

    observable = Registry("observation", {"prompt": "of the current image", **OBSERVABLE})

    def __init__(self, num_envs: int = 1, max_length: int = 1000, **shared: Any) -> None:
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self._prompt_space = spaces.Text(max_length, charset=CHARACTERS)
        super().__init__(num_envs, **shared)

    @property
    def mechanism(self) -> str:
        """See :class:`SteeringVectorEnv`."""
        return f"text seeds={self.seeds}" if self.seeds else "text"

    def _mechanism(self, generator: Generator, metric: Metric) -> dict[str, Any]:
        return {"human": Writer(), "proposals": 1}

    def _action_space(self) -> spaces.Space:
        return self._prompt_space

    def _observation_space(self) -> spaces.Dict:
        written = {"prompt": self._prompt_space} if "prompt" in self._observe else {}
        return spaces.Dict({**super()._observation_space(), **written})

    def _play(self, actions: Any, rows: np.ndarray) -> RoundOutcome:
        if isinstance(actions, str) or len(actions) != self.num_envs:
            given = repr(actions) if isinstance(actions, str) else len(actions)
            raise ValueError(f"{self.num_envs} environments need as many prompts, got {given}")
        return self.dynamics.rewrite([self._checked(actions[row]) for row in rows], rows, self._drawn(rows))

    def _drawn(self, rows: np.ndarray) -> list[int] | None:
        """Seeds of the next images, each as likely as any other that the model has."""
        if not self.seeds:
            return None
        places = [(_STREAM, self.dynamics.seeds[row], self.dynamics.rounds[row]) for row in rows]
        return [FIRST_SEED + int(np.random.default_rng(place).integers(self.seeds)) for place in places]

    def _start(self, rows: np.ndarray, options: dict[str, Any]) -> dict[str, Any]:
        told = super()._start(rows, options)
        for row in rows:
            self._checked(self.dynamics.prompts[row])
        return told

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
            raise ValueError(f"prompt {prompt!r} holds {strange[0]!r}; allowed are steer_env.envs.text.CHARACTERS")
        return str(prompt)

    def observe(self) -> dict[str, Any]:
        """The round, and what was asked for."""
        written = {"prompt": tuple(self.dynamics.prompts)} if "prompt" in self._observe else {}
        return {**super().observe(), **written}
