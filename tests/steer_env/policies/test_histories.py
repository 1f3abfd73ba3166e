import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_env.evaluation.rollout import make_env, play
from steer_env.policies import read_policy
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.policies.histories import HistoryPolicy
from steer_env.policies.stored import PolicyError
from steer_env.testing import check_policy

ROWS = [[0.5], [0.1, 0.2], [0.3, 0.4, 0.6, 0.7], [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75]]


def test_conformance() -> None:
    check_policy(lambda: HistoryPolicy("mine", ROWS))


def test_every_history_has_its_scale() -> None:
    policy = HistoryPolicy("mine", ROWS)
    for _ in range(2):
        policy.start([1, 2, 3])
        courses = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0]])
        played = [policy.act({"round": np.full(3, i), "stayed": courses[i]}).tolist() for i in range(4)]
        assert played == [[0.5] * 3, [0.1, 0.2, 0.2], [0.4, 0.6, 0.6], [0.35, 0.55, 0.45]]


def test_it_is_played_by_what_happened() -> None:
    policy = HistoryPolicy("mine", ROWS)
    for trace in play(make_env(4), [policy], list(range(4)), list(range(4))):
        stays = [choice == 0 for choice in trace.choices]
        expected = [ROWS[i][int("".join(str(int(s)) for s in stays[:i]) or "0", 2)] for i in range(4)]
        assert trace.scales == pytest.approx(expected)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    card = PolicyCard(TrainingRecord("tiles-train-v1", 16, {}, {}))
    HistoryPolicy("mine", ROWS, 3, card).save(tmp_path)
    again = read_policy(tmp_path)
    assert isinstance(again, HistoryPolicy)
    assert (again.name, again.training_seed, again.card, again.rows) == ("mine", 3, card, ROWS)


def test_more_rounds_than_it_knows_are_an_error() -> None:
    policy = HistoryPolicy("mine", ROWS[:2])
    policy.start([0])
    with pytest.raises(PolicyError, match=r"'mine' knows 2 rounds: env\.rounds must not be larger"):
        policy.act({"round": np.array([2]), "stayed": np.array([0])})


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([], "scales: List should have at least 1 item"),
        ([[0.5], [0.5]], r"got rows of \[1, 1\]"),
        (
            [[0.5] * 2**i for i in range(13)],
            "scales: List should have at most 12 items|scales.12: List should have at most 2048",
        ),
        ([[0.5], [0.5, 1.5]], "scales.1.1: Input should be less than or equal to 1"),
        ([[0.5], [0.5, None]], "scales.1.1: Input should be a valid number"),
        ([[0.5], "ab"], "scales.1: Input should be a valid list"),
        ([[float("nan")]], "NaN is no finite number"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, scales: Any, message: str) -> None:
    record = {"kind": "histories", "name": "x", "training_seed": -1, "scales": scales}
    (tmp_path / "policy.json").write_text(json.dumps(record))
    with pytest.raises(PolicyError, match=message):
        read_policy(tmp_path)
