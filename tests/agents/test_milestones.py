import json
from pathlib import Path

import pytest

from agents.episodes import Training
from agents.files import CHECKPOINT
from agents.milestones import check_milestones, milestones
from agents.planning import PlanningThompson
from agents.training import train
from steer_env.evaluation.rollout import make_env
from steer_env.traces import read_traces


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
    assert checkpoints[0] == checkpoints[1]


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
