"""Cross-validated R², where the explained share is known."""

import numpy as np
import pytest

from steer_env.evaluation.predictors import compare_predictors, one_hot


def test_each_input_explains_its_share() -> None:
    rng = np.random.default_rng(0)
    model, prompt, noise = rng.standard_normal((3, 4000))
    fits = compare_predictors(
        model + 2 * prompt + noise,
        np.arange(4000),
        {"model": model[:, None], "prompt": prompt[:, None]},
        penalties=[1e-6, 1.0],
    )
    assert fits["mean"].value == pytest.approx(0, abs=0.01)
    assert fits["model"].value == pytest.approx(1 / 6, abs=0.04)
    assert fits["prompt"].value == pytest.approx(5 / 6, abs=0.04)


def test_a_task_known_from_training_does_not_help() -> None:
    """Rewards that depend on the task alone can't be predicted for tasks never seen."""
    rng = np.random.default_rng(1)
    tasks = np.repeat(np.arange(100), 4)
    rewards = rng.standard_normal(100)[tasks]
    assert compare_predictors(rewards, tasks, {"task": np.eye(100)[tasks]})["task"].value < 0.05


def test_one_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two generators"):
        one_hot(["tiles", "tiles"])


@pytest.mark.parametrize(
    ("rewards", "count", "message"),
    [(np.zeros(40), 40, "nothing to predict"), (np.arange(4.0), 4, "too few"), (np.arange(40.0), 39, "40 rows")],
)
def test_bad_input_is_named(rewards: np.ndarray, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_predictors(rewards, np.arange(len(rewards)), {"x": np.zeros((count, 1))})
