from dataclasses import astuple

import numpy as np
import pytest

from steer_env.evaluation.efficiency import Curves, efficiency_report
from tests.markdown import compact

CHECKPOINTS = [10, 100, 1000]
BEST = np.full(50, 1.0)


def curves(**agents: list[list[float]]) -> Curves:
    """From a mean for each training seed and checkpoint, the same on every task."""
    gains = {name: np.repeat(np.array(means)[:, :, None], len(BEST), axis=2) for name, means in agents.items()}
    return Curves(CHECKPOINTS, gains, BEST, share=0.95)


def test_reached_is_the_first_time_and_kept_is_for_good() -> None:
    found = curves(one=[[0.96, 0.9, 0.97], [0.1, 0.95, 0.99], [0.1, 0.2, 0.3]])
    assert found.first("one").tolist() == [10, 100, np.inf]
    assert found.kept("one").tolist() == [1000, 100, np.inf]
    assert found.needed() == {"one": [1000, 100, None]}


def test_the_ratio_is_that_of_the_medians() -> None:
    slow, fast = [[0.1, 0.2, 0.96]] * 3, [[0.97, 0.98, 0.99]] * 3
    found = curves(slow=slow, fast=fast)
    assert astuple(found.ratio("fast")) == (100, 100, 100)


def test_a_baseline_that_never_gets_there_gives_a_lower_bound() -> None:
    found = curves(never=[[0.1, 0.2, 0.3]] * 3, fast=[[0.5, 0.98, 0.99]] * 3)
    assert found.ratio("fast").value == 10
    assert curves(fast=[[0.5, 0.98, 0.99]] * 3, never=[[0.1, 0.2, 0.3]] * 3).ratio("never").value == 0


def test_the_interval_widens_with_what_training_seeds_and_tasks_leave_open() -> None:
    rng = np.random.default_rng(0)
    tasks = rng.standard_normal(50)
    means = np.array([0.9, 0.95, 1.0])[None, :, None] + 0.03 * rng.standard_normal((10, 3, 1))
    gains = dict.fromkeys(("one", "other"), means + tasks)
    _, low, high = astuple(Curves(CHECKPOINTS, gains, 1 + tasks).ratio("other"))
    assert low < 1 < high


def test_the_report_says_who_needs_how_many() -> None:
    found = curves(slow=[[0.1, 0.2, 0.96]] * 3, never=[[0.1, 0.2, 0.3]] * 3)
    text = compact(efficiency_report(found, "schedule:1.0", "Trained and tested.").markdown())
    assert "3 trainings of each agent" in text
    assert "| slow | 1000 | 1000 | 1000 – 1000 |" in text
    assert "| never | > 1000 | > 1000 | > 1000 – > 1000 | 0.0 |" in text


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_the_target_is_a_share_of_the_best(share: float) -> None:
    gains = {"one": np.full((2, 3, 50), 0.6)}
    assert np.isfinite(Curves(CHECKPOINTS, gains, BEST, share).kept("one")).all() == (share == 0.5)
