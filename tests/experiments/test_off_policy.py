import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import learn, off_policy
from steer_env.policies import read_policy
from steer_env.traces import write_traces
from tests.evaluation.test_off_policy import study

pytestmark = pytest.mark.usefixtures("blots")


def test_policies_are_evaluated_on_sessions_and_in_studies(
    tmp_path: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(off_policy, "TRUTH", 300)
    traces = [replace(trace, policy="exploring 0.6 target") for trace in study(60, 2, 0)]
    write_traces(traces, tmp_path / "people" / "traces" / "a.parquet")
    places = (f"folder={tmp_path / 'run'}", f"sessions=[{tmp_path / 'people'}]")
    command(off_policy.main, *places, "policies=[random-bucket,constant:0.9]", "check=2", "people=60")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert set(result["estimates"]) == {"random bucket", "constant 0.9"}
    assert all(0 <= covered <= 2 for covered in result["covered"]["random bucket"].values())
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Sessions of 60 people, steered by exploring 0.6 target" in report
    assert "(too few)" in report
    assert list((tmp_path / "run" / "figures").glob("*.png"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), r"give sessions=\[FOLDER\]"),
        (("check=1", "policies=[text:blind]"), "policies that choose scales, not text blind"),
        (("sessions=[nowhere]",), "no trace file at"),
    ],
)
def test_what_cannot_be_evaluated(refuses: Callable[..., None], overrides: tuple[str, ...], message: str) -> None:
    refuses(off_policy.main, message, *overrides, error=(ValueError, FileNotFoundError))


def test_a_bandit_learns_from_recorded_sessions_by_one_command(tmp_path: Path, command: Callable[..., None]) -> None:
    write_traces(study(40, 1, 0), tmp_path / "people.parquet")
    command(learn.main, f"folder={tmp_path / 'run'}", f"sessions=[{tmp_path / 'people.parquet'}]", "agent=planning")
    policy = read_policy(tmp_path / "run" / "policy")
    assert len(policy.rows) == 2
    assert json.loads((tmp_path / "run" / "result.json").read_text())["sessions"] == 40
    with pytest.raises(ValueError, match="agent=ppo learns only while it plays"):
        command(learn.main, f"folder={tmp_path / 'ppo'}", f"sessions=[{tmp_path / 'people.parquet'}]", "agent=ppo")
