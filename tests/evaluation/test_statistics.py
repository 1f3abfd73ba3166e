from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from steer_env.evaluation import statistics
from steer_env.evaluation.statistics import estimate, paired_difference, summary
from steer_env.traces import traces_to_frame
from tests.steer_env.test_traces import TRACE


def frame_of(values: dict[str, np.ndarray]) -> pd.DataFrame:
    """Improvements by policy, float (S, T) each, as episodes of one round."""
    return traces_to_frame(
        [
            replace(
                TRACE,
                policy=policy,
                training_seed=seed,
                task_index=task,
                scales=[0.5],
                choices=[int(value > 0)],
                similarities=[0.2, 0.2 + value],
                judged={"pixels": [0.0, value / 2]},
            )
            for policy, table in values.items()
            for seed, row in enumerate(table)
            for task, value in enumerate(row)
        ]
    )


def test_one_training_seed_is_students_t_over_tasks() -> None:
    values = np.random.default_rng(0).normal(0.02, 0.1, 200)
    found, reference = estimate(values[None]), stats.ttest_1samp(values, 0)
    assert found.error == pytest.approx(stats.sem(values))
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.interval() == pytest.approx(tuple(reference.confidence_interval()))
    assert found.episodes == 200


def test_paired_differences_are_those_of_scipys_paired_test() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0.1, 0.05, 50), rng.normal(0.08, 0.05, 50)
    found = paired_difference(frame_of({"ours": ours[None], "theirs": theirs[None]}), "ours", "theirs")
    assert found.p_value == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert found.mean == pytest.approx((ours - theirs).mean())


@pytest.mark.parametrize(("by_seed", "by_task"), [(0.3, 1.0), (1.0, 0.1), (0.0, 0.0)])
@pytest.mark.parametrize(("seeds", "tasks"), [(8, 40), (3, 150)])
def test_intervals_cover_the_truth_when_seeds_and_tasks_both_vary(
    by_seed: float, by_task: float, seeds: int, tasks: int
) -> None:
    """Two random effects and noise: the 95 % interval of the grand mean covers it in about 95 % of 600 studies."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(600):
        values = by_seed * rng.standard_normal((seeds, 1)) + by_task * rng.standard_normal((1, tasks))
        low, high = estimate(values + 0.5 * rng.standard_normal((seeds, tasks))).interval()
        covered += low <= 0 <= high
    assert 0.92 <= covered / 600 <= 0.995


def test_episodes_of_one_task_do_not_count_as_independent() -> None:
    values = np.repeat(np.random.default_rng(3).normal(size=(1, 30)), 20, axis=0)
    assert estimate(values).error == pytest.approx(estimate(values[:1]).error, rel=1e-6)


def test_summary_is_table_1() -> None:
    frame = frame_of({"a": np.array([[0.1, 0.0, 0.2, 0.3]]), "b": np.array([[0.4, 0.4, 0.4, 0.0]])})
    found = summary(frame, threshold=0.4)
    assert found.index.tolist() == ["b", "a"], "best first"
    a = found.loc["a"]
    assert a["change"].mean == pytest.approx(0.15)
    assert a["change"].error == pytest.approx(stats.sem([0.1, 0.0, 0.2, 0.3]))
    assert a["improved"].mean == pytest.approx(0.75)
    assert a["reached"].mean == pytest.approx(0.5)
    assert a["rounds"].mean == pytest.approx((2 + 2 + 1 + 1) / 4), "R + 1 rounds where it isn't reached"
    assert a["pixels change"].mean == pytest.approx(0.075)


def test_attempts_are_figure_9() -> None:
    frame = traces_to_frame(
        [replace(TRACE, task_index=i, similarities=[0.1, 0.1 * i, 0.5, 0.5, 0.6]) for i in range(3)]
    )
    found = statistics.attempts(frame)
    assert found["attempt"].tolist() == [0, 1, 2, 3, 4]
    assert found["mean"].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.5, 0.6])
    assert found["error"].tolist() == pytest.approx([0, stats.sem([0, 0.1, 0.2]), 0, 0, 0])


def test_stay_rates() -> None:
    frame = traces_to_frame([TRACE, replace(TRACE, task_index=1, choices=[1, 1, 0, 0])])
    assert statistics.stay_rates(frame).iloc[0].tolist() == [0.5, 0.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frame: statistics.table(frame, "c"), "no episode of policy 'c'; there are: a, b"),
        (lambda frame: statistics.table(pd.concat([frame, frame]), "a"), "policy 'a' played a task twice"),
        (lambda frame: paired_difference(frame.drop(index=0), "a", "b"), "were played on different tasks"),
        (lambda frame: estimate(np.ones((2, 1))), "needs at least 2 tasks, got 1"),
        (lambda frame: estimate(np.array([[1.0, np.nan]])), "every training seed must be played on every task"),
    ],
)
def test_errors(call: Callable[[pd.DataFrame], Any], message: str) -> None:
    frame = frame_of({"a": np.array([[0.1, 0.0, 0.2]]), "b": np.array([[0.4, 0.4, 0.3]])})
    with pytest.raises(ValueError, match=message):
        call(frame)
