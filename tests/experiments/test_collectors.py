"""The group ``collectors``: whoever plays, the run is the same; tests/cluster has a real cluster of two nodes."""

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from agents.files import CHECKPOINT
from experiments import evaluate, train
from experiments.run.options import RayOptions
from steer_env.traces import read_traces

ROOT = Path(__file__).parents[2]
TRAIN = ("episodes=16", "batch=8", "parts=2", "lag=1", "threads=1", "env.rounds=2", "env.proposals=1")
TABLE = ("tasks=6", "tasks_per_batch=2", "strips=1", "threads=1", "env.rounds=2", "env.proposals=1")
RAY = ("collectors=ray", "collectors.count=2")


def test_without_ray_its_collectors_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "steer_env.evaluation.on_ray", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'steer-env\[ray\]'"):
        import_module("steer_env.evaluation.on_ray")


@pytest.mark.slow
def test_a_run_is_the_same_whoever_plays_it(tmp_path: Path, command: Callable[..., None]) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    for name, options in (("here", ()), ("many", RAY)):
        goals = f"env.goal_bank={tmp_path / name / 'goals'}"
        command(train.main, f"folder={tmp_path / name}", *TRAIN, goals, *options)
    one, many = tmp_path / "here", tmp_path / "many"
    banks = [sorted(path.name for path in (folder / "goals").glob("*/*")) for folder in (one, many)]
    assert banks[0] == banks[1] != []
    for name in (CHECKPOINT, "policy/policy.json"):
        assert (one / name).read_text() == (many / name).read_text()
    assert read_traces(one / "traces") == read_traces(many / "traces")


@pytest.mark.slow
def test_tables_are_the_same_whoever_plays(tmp_path: Path, command: Callable[..., None]) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    for name, options in (("here", ()), ("many", RAY)):
        policies = "policies=[random-bucket,text:blind,published]"
        command(evaluate.main, f"folder={tmp_path / name}", *TABLE, policies, *options)
    one, many = tmp_path / "here", tmp_path / "many"
    assert read_traces(one / "traces") == read_traces(many / "traces")
    assert (one / "report.md").read_text() == (many / "report.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["agent=ppo", "collectors=ray"], "collectors, parts and lag are for the bandit agents"),
        (["agent=dqn", "lag=2"], "collectors, parts and lag are for the bandit agents"),
        (["parts=3"], "a batch of 32 episodes can't be played in 3 equal parts"),
        (["lag=-1"], "lag must be at least 0, got -1"),
    ],
)
def test_what_cant_be_is_refused_before_any_work(
    tmp_path: Path, command: Callable[..., None], options: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        command(train.main, f"folder={tmp_path / 'new'}", *options)
    assert not (tmp_path / "new").exists()


def test_the_page_about_ray_names_options_that_exist() -> None:
    page = (ROOT / "docs" / "ray.md").read_text()
    assert set(re.findall(r"collectors\.(\w+)", page)) == {f.name for f in fields(RayOptions)} - {"kind"}
