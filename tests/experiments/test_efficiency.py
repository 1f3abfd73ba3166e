"""How many episodes agents need: the command, the milestones of its trainings, and its curves."""

import json
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from agents.episodes import Training
from agents.files import CHECKPOINT
from agents.planning import PlanningThompson
from agents.training import train
from experiments import efficiency
from experiments.efficiency import Curves, check_milestones, efficiency_report, milestones
from steer_env.evaluation import rollout
from steer_env.evaluation.rollout import make_env
from steer_env.traces import read_traces
from tests.markdown import compact

pytestmark = pytest.mark.usefixtures("blots")

SMALL = ["seeds=2", "checkpoints=[4,8]", "batch=4", "tasks=3", "agents=[thompson,planning,'planning:credit=return']"]
SHORT = ["env.rounds=2", "env.proposals=1"]
CHECKPOINTS = [10, 100, 1000]
BEST = np.full(50, 1.0)


def test_agents_are_compared_and_no_table_is_played_twice(
    command: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(efficiency.main, f"folder={tmp_path}", *SMALL, *SHORT)
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["episodes needed"]) == {"thompson", "planning", "planning:credit=return"}
    played = [trace.policy for trace in read_traces(*(tmp_path / "traces").iterdir())]
    assert len(played) == 3 * result["tables"] == 3 * len(set(played))
    assert (tmp_path / "report.html").is_file()
    # More tasks of the same tables aren't trained again.
    (tmp_path / "result.json").unlink()
    monkeypatch.setattr("agents.training.train", None)
    command(efficiency.main, f"folder={tmp_path}", *SMALL[:3], "tasks=4", SMALL[4], *SHORT)
    assert {trace.task_index for trace in read_traces(*(tmp_path / "traces").iterdir())} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("agents=[ppo]", "is no bandit"),
        ("agents=['planning:credits=return']", "credit"),
        ("agents=['planning:credit=reward']", "credit"),
        ("checkpoints=[4,6]", "multiples of the batch"),
        ("best=random-bucket", "must be a table"),
        ("seeds=1", "seeds must be at least 2, got 1"),
        ("share=2", "share must be from 0 to 1, got 2"),
        ("agents=[]", "agents must have at least 1 entries"),
        ("agents=[planning,planning]", "the entries of agents must differ"),
        ("tasks=100000", "tasks must be 2 to"),
        ("suite=tiles-test-v9", "tiles-test-v1"),
    ],
)
def test_bad_input_is_refused_before_any_training(
    refuses: Callable[..., None], monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    monkeypatch.setattr(rollout, "play", None)
    refuses(efficiency.main, message, *SMALL, override)


def test_looking_at_a_training_does_not_change_it(tmp_path: Path) -> None:
    env = make_env(4)
    found = milestones(PlanningThompson(), env, 3, [4, 12], tmp_path / "looked")
    agent = PlanningThompson()
    assert train(agent, env, Training(12, 3), tmp_path / "alone")
    assert found is not None
    assert [policy.name for policy in found] == ["after 4 episodes", "after 12 episodes"]
    assert found[1].scales.tolist() == agent.policy("learned").scales.tolist()
    assert read_traces(tmp_path / "looked" / "traces") == read_traces(tmp_path / "alone" / "traces")
    checkpoints = [json.loads((tmp_path / name / CHECKPOINT).read_text()) for name in ("looked", "alone")]
    # A training that pauses cuts its files of traces elsewhere.
    cut = ("traces", "seal")
    assert [{k: v for k, v in each.items() if k not in cut} for each in checkpoints[:1]] == [
        {k: v for k, v in each.items() if k not in cut} for each in checkpoints[1:]
    ]


def test_a_finished_call_is_read_and_an_unfinished_one_gone_on_with(tmp_path: Path) -> None:
    env = make_env(4)
    first = milestones(PlanningThompson(), env, 3, [4], tmp_path)
    both = milestones(PlanningThompson(), env, 3, [4, 8], tmp_path)
    whole = milestones(PlanningThompson(), env, 3, [4, 8], tmp_path / "whole")
    assert first is not None
    assert both is not None
    assert whole is not None
    assert [policy.scales.tolist() for policy in both] == [policy.scales.tolist() for policy in whole]
    assert first[0].scales.tolist() == both[0].scales.tolist()


@pytest.mark.parametrize("numbers", [[], [0, 4], [8, 4], [4, 4], [4, 6]])
def test_numbers_that_make_no_curve_are_refused(numbers: list[int]) -> None:
    check_milestones([4, 8, 32], 4)
    with pytest.raises(ValueError, match="ascending multiples of the batch, 4 episodes"):
        check_milestones(numbers, 4)


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
