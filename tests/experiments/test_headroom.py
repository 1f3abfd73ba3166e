"""How much there is to gain, at the smallest size, and its bounds where they are known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments import headroom
from experiments.headroom import cover, information_bound

pytestmark = pytest.mark.usefixtures("blots")

SMALL = ["tasks=2", "tasks_per_batch=2", "fresh=8", "policies=[published]", "shapes=[1x2]", "env.rounds=2"]


def test_everything_is_played_once_and_goes_on(tmp_path: Path, command: Callable[..., None]) -> None:
    options = [f"folder={tmp_path / 'run'}", *SMALL, 'mechanisms=["bayesian:pool=4"]', "env.proposals=1"]
    command(headroom.main, *options)
    found = json.loads((tmp_path / "run" / "headroom.json").read_text())
    rows = {(row["name"], row.get("rounds"), row.get("proposals")): row for row in found["rows"]}
    assert set(rows) == {
        *(("published", 2, 1), ("bayesian:pool=4", 2, 1), ("published", 1, 2), ("bayesian:pool=4", 1, 2)),
        *(("leaves", None, None), ("information", None, None)),
    }
    leaves, bound = rows["leaves", None, None], rows["information", None, None]
    assert leaves["own_goals"]["value"] <= bound["own_goals"]["value"] + 1e-6
    with np.load(tmp_path / "run" / "traces" / "fresh" / "00000000.npz") as file:
        lottery = dict(file)
    best = np.maximum.accumulate(lottery["luck"], axis=1)
    assert lottery["luck"].shape == (2, 8)
    assert found["tasks"] == 2
    assert (lottery["leaves"] <= best[:, -1].clip(0) + 1e-9).all(), "its images are among the fresh ones"
    report = (tmp_path / "run" / "report.md").read_text()
    (tmp_path / "run" / "result.json").unlink()
    command(headroom.main, *options)
    assert (tmp_path / "run" / "report.md").read_text() == report


def test_the_cover_takes_what_adds_most() -> None:
    alike = np.array([[0.85, 0.2, 0.8], [0.1, 0.9, 0.8], [0.1, 0.2, 0.3]])
    assert cover(alike, 2) == [2, 1]
    assert cover(alike, 9) == [2, 1, 0]


@pytest.mark.parametrize("goals", [4, 16])
def test_the_bound_is_what_information_theory_says(goals: int) -> None:
    """Of equally likely goals, hit or missed: R(D) = ln G − h(D) − D ln(G − 1) (Hamming distortion)."""
    for missed in (0.1, 0.4):
        nats = np.log(goals) + missed * np.log(missed) + (1 - missed) * np.log(1 - missed) - missed * np.log(goals - 1)
        assert information_bound(np.eye(goals), nats) == pytest.approx(1 - missed, abs=0.005)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("shapes=[2by4]", "shapes are rounds x proposals such as 2x4, not '2by4'"),
        ("policies=[text:blind]", "policies must choose mixture scales"),
        ("fresh=2", "fresh must be at least 4"),
        ("mechanisms=[bayesan]", "unknown mechanism 'bayesan'; did you mean 'bayesian'"),
    ],
)
def test_wrong_options_before_any_work(refuses: Callable[..., None], option: str, message: str) -> None:
    refuses(headroom.main, message, *SMALL, option)
