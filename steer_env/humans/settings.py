"""How simulated users set what isn't words: the seed and the guidance scale of an attempt (paper, B.3 and B.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from steer_env.ties import first_best

_STREAM = 4


class WinStay:
    """Keeps a value that has just come closest; else goes back to the closest one, or tries another.

    The paper's participants had this advice about seeds: go on with one whose images resemble the goal, or try others.

    Args:
        space: of numbers, each as likely as any other.
        curiosity: probability of trying another rather than going back, in [0, 1].

    Raises:
        ValueError: a probability outside [0, 1].

    >>> import numpy as np
    >>> user = WinStay(spaces.Discrete(1, start=42))
    >>> user.start([0])
    >>> user.choose([[7, 8]], np.array([[0.3, 0.2]]))[0] in (7, 42)
    True
    """

    def __init__(self, space: spaces.Space, curiosity: float = 0.5) -> None:
        if not 0 <= curiosity <= 1:
            raise ValueError(f"curiosity is a probability, got {curiosity}")
        self._space, self.curiosity = space, curiosity

    def start(self, episode_seeds: Sequence[int]) -> None:
        """Begin N episodes; whatever the user draws at random comes from these seeds."""
        self._rngs = [np.random.default_rng([seed, _STREAM]) for seed in episode_seeds]

    def choose(self, tried: Sequence[Sequence[Any]], similarities: np.ndarray) -> list[Any]:
        """The next value of each episode, from its values so far, N × t, and their similarities, float (N, t)."""
        return [self._next(*episode) for episode in zip(tried, similarities, self._rngs, strict=True)]

    def _next(self, tried: Sequence[Any], similarities: np.ndarray, rng: np.random.Generator) -> Any:
        best = int(first_best(similarities))
        other, curious = self._draw(rng), rng.random() < self.curiosity
        return other if best < len(tried) - 1 and curious else tried[best]

    def _draw(self, rng: np.random.Generator) -> Any:
        space = self._space
        if isinstance(space, spaces.Discrete):
            return int(rng.integers(int(space.start), int(space.start) + int(space.n)))
        assert isinstance(space, spaces.Box)
        return float(np.float32(rng.uniform(float(space.low), float(space.high))))
