"""A policy of your own beside the built-in ones, on the same tasks with the same noise.

Run it with ``python examples/evaluate_your_policy.py``. It leaves ``outputs/your-policy/report.html``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from steer_env import load_policy
from steer_env.evaluation.reports import Report, steering_report
from steer_env.evaluation.suites import evaluate
from steer_env.testing import check_policy


class SmallAfterStaying:
    """Large steps, and small ones after the user kept the current image."""

    name, training_seed = "small after staying", -1

    def start(self, episode_seeds: Sequence[int]) -> None:
        """Nothing in it is random; a policy that draws numbers seeds its generators here, one an episode."""

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mixture scales float (N,) from ``round`` and ``stayed``, int (N,)."""
        return np.where(observation["stayed"] == 1, 0.4, 0.9)


def compare(tasks: int = 50) -> Report:
    """Tables and figures of three policies on the first test tasks."""
    policies = [SmallAfterStaying(), load_policy("random-bucket"), load_policy("best-known")]
    batches = evaluate(policies, tasks, suite="tiles-test-v1", judges=["pixel-correlation"])
    traces = [trace for batch in batches for trace in batch]
    return steering_report(traces, baseline="random bucket", threshold=0.8)


if __name__ == "__main__":
    check_policy(SmallAfterStaying)
    report = compare()
    report.save(Path("outputs/your-policy"))
    print(report.markdown())
