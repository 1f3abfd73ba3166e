"""A policy of your own beside the built-in ones, on the same tasks with the same noise.

Run it with ``python examples/evaluate_your_policy.py``. It leaves ``outputs/your-policy/report.html``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from steer_env import evaluate
from steer_env.testing import check_policy


class SmallAfterStaying:
    """Large steps, and small ones after the user kept the current image."""

    name, training_seed = "small after staying", -1

    def start(self, episode_seeds: Sequence[int]) -> None:
        """Nothing in it is random; a policy that draws numbers seeds its generators here, one an episode."""

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mixture scales float (N,) from ``round`` and ``stayed``, int (N,)."""
        return np.where(observation["stayed"] == 1, 0.4, 0.9)


if __name__ == "__main__":
    check_policy(SmallAfterStaying)
    result = evaluate([SmallAfterStaying(), "best-known", "random-bucket"], tasks=50)
    result.report().save(Path("outputs/your-policy"))
    print(result.table().to_string(index=False))
