from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from steer_env.evaluation import statistics
from steer_env.evaluation.statistics import paired_difference, summary
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


def test_paired_differences_are_those_of_scipys_paired_test() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0.1, 0.05, 50), rng.normal(0.08, 0.05, 50)
    found = paired_difference(frame_of({"ours": ours[None], "theirs": theirs[None]}), "ours", "theirs")
    assert found.p_value == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert found.value == pytest.approx((ours - theirs).mean())


def test_summary_is_table_1() -> None:
    frame = frame_of({"a": np.array([[0.1, 0.0, 0.2, 0.3]]), "b": np.array([[0.4, 0.4, 0.4, 0.0]])})
    found = summary(frame, threshold=0.4)
    assert found.index.tolist() == ["b", "a"], "best first"
    a = found.loc["a"]
    assert a["change"].value == pytest.approx(0.15)
    assert a["change"].error == pytest.approx(stats.sem([0.1, 0.0, 0.2, 0.3]))
    assert a["improved"].value == pytest.approx(0.75)
    assert a["reached"].value == pytest.approx(0.5)
    assert a["rounds"].value == pytest.approx((2 + 2 + 1 + 1) / 4), "R + 1 rounds where it isn't reached"
    assert a["pixels change"].value == pytest.approx(0.075)


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
    ],
)
def test_errors(call: Callable[[pd.DataFrame], Any], message: str) -> None:
    frame = frame_of({"a": np.array([[0.1, 0.0, 0.2]]), "b": np.array([[0.4, 0.4, 0.3]])})
    with pytest.raises(ValueError, match=message):
        call(frame)
