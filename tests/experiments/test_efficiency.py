import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import efficiency
from steer_env.evaluation import rollout
from steer_env.traces import read_traces

SMALL = ["seeds=2", "checkpoints=[4,8]", "batch=4", "tasks=3", "agents=[thompson,planning,'planning:credit=return']"]
SHORT = ["env.rounds=2", "env.proposals=1"]


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
    monkeypatch.setattr("agents.milestones.train", None)
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
        ("seeds=1", "at least 2"),
        ("tasks=100000", "tasks must be 2 to"),
        ("suite=tiles-test-v9", "tiles-test-v1"),
    ],
)
def test_bad_input_is_refused_before_any_training(
    command: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    monkeypatch.setattr(rollout, "play", None)
    with pytest.raises(ValueError, match=message):
        command(efficiency.main, f"folder={tmp_path / 'run'}", *SMALL, override)
    assert not (tmp_path / "run").exists()
