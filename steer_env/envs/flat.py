"""Observations as one flat vector, for networks that take nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from steer_env.types import OBSERVATIONS


def flat_space(space: spaces.Dict) -> spaces.Box | None:
    """The joined parts, float32 (D,), with the bounds of each; None where one isn't a vector."""
    if not set(space.spaces) <= set(OBSERVATIONS):
        return None
    parts = [space.spaces[name] for name in OBSERVATIONS if name in space.spaces]
    boxes = [spaces.Box(0, 1, (part.n,)) if isinstance(part, spaces.Discrete) else part for part in parts]
    low, high = (np.concatenate([getattr(box, bound).ravel() for box in boxes]) for bound in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


def flatten(space: spaces.Dict, observation: Mapping[str, np.ndarray]) -> np.ndarray:
    """Named parts of N episodes → float32 (N, D)."""
    rows = []
    for name in OBSERVATIONS:
        if name in observation:
            part, values = space.spaces[name], observation[name]
            if isinstance(part, spaces.Discrete):
                values = np.eye(int(part.n), dtype=np.float32)[values]
            rows.append(values.reshape(len(values), -1))
    return np.concatenate(rows, axis=1)


def row_of(observation: Any, row: int) -> Any:
    """One episode's observation, of a batch of named parts or of flat vectors."""
    if isinstance(observation, Mapping):
        return {name: values[row] for name, values in observation.items()}
    return observation[row]
