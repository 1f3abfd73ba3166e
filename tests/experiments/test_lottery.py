from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import evaluate, lottery
from experiments.lottery import lottery_report, shares
from steer_env.traces import traces_to_frame
from tests.steer_env.test_traces import TRACE

pytestmark = pytest.mark.usefixtures("blots")


def frame_of(user: np.ndarray, blind: np.ndarray) -> pd.DataFrame:
    """Similarities float (T, 1 + k) of the attempts of both."""
    return traces_to_frame(
        [
            replace(
                TRACE,
                policy=policy,
                task_index=task,
                scales=[],
                prompts=["a word"] * len(row),
                choices=[1] * (len(row) - 1),
                similarities=row.tolist(),
                judged={},
            )
            for policy, table in (("user", user), ("blind", blind))
            for task, row in enumerate(table)
        ]
    )


def test_a_share_is_what_the_best_of_the_first_attempts_adds() -> None:
    user = np.array([[0.2, 0.4, 0.6], [0.5, 0.1, 0.7]])
    blind = np.array([[0.2, 0.1, 0.3, 0.4], [0.5, 0.6, 0.2, 0.9]])
    found = shares(frame_of(user, blind), "user", "blind", [1, 3])
    assert [share.value for share in found["share"]] == pytest.approx([0.1 / 0.6, 0.6 / 0.6])
    assert [gain.value for gain in found["improvement"]] == pytest.approx([0.05, 0.3])
    assert [one.value for one in found["one"]] == pytest.approx([0.0, (0.2 / 3 + 0.2 / 3) / 2])


def test_more_attempts_never_reach_less() -> None:
    rng = np.random.default_rng(0)
    found = shares(frame_of(rng.random((30, 5)), rng.random((30, 21))), "user", "blind", [4, 7, 10, 20])
    means = [share.value for share in found["share"]]
    assert means == sorted(means)


def test_what_cannot_be_compared_is_refused() -> None:
    rng = np.random.default_rng(0)
    frame = frame_of(rng.random((3, 5)), rng.random((3, 8)))
    with pytest.raises(ValueError, match=r"was played with 7 attempts, there are none for \[10\]: env.rounds="):
        shares(frame, "user", "blind", [7, 10])
    with pytest.raises(ValueError, match="different tasks"):
        shares(frame.drop(frame.index[-1]), "user", "blind", [4])
    with pytest.raises(ValueError, match="no share of a mean of 0"):
        shares(frame_of(np.full((2, 3), 0.5), rng.random((2, 3))), "user", "blind", [1])


def test_the_report_has_a_row_and_a_bar_for_each_number_of_attempts() -> None:
    rng = np.random.default_rng(2)
    report = lottery_report(frame_of(rng.random((30, 5)), rng.random((30, 21))), "user", "blind", [4, 20])
    (section,) = report.sections
    assert section.tables[0]["blind attempts"].tolist() == [4, 20]
    assert len(section.figures[0].axes[0].patches) == 2
    assert "with 4 attempts, on 30 tasks" in report.lead


def test_the_share_of_luck_comes_from_two_evaluations(tmp_path: Path, command: Callable[..., None]) -> None:
    steered, drawn, lucky = (tmp_path / name for name in ("steered", "drawn", "lucky"))
    command(evaluate.main, f"folder={steered}", "policies=['text:attribute']", "baseline='text attribute'", "tasks=4")
    command(
        evaluate.main, f"folder={drawn}", "policies=['text:blind']", "baseline='text blind'", "tasks=4", "env.rounds=7"
    )
    options = (f"folder={lucky}", f"evaluation={steered}", f"blind_evaluation={drawn}")
    with pytest.raises(ValueError, match="was played with 7 attempts"):
        command(lottery.main, *options)
    with pytest.raises(ValueError, match="has no policy 'me'; it has: text attribute"):
        command(lottery.main, *options, "user=me")
    assert not lucky.exists()
    command(lottery.main, *options, "attempts=[4,7]")
    assert "share of the user's improvement" in (lucky / "report.md").read_text()
    assert list((lucky / "figures").glob("*.png"))
