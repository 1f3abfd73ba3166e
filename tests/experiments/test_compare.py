"""Episodes of several evaluations as one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import compare, evaluate
from experiments.run.evaluations import merge
from steer_env.traces import write_traces
from tests.markdown import compact
from tests.steer_env.test_traces import TRACE

pytestmark = pytest.mark.usefixtures("blots")

WRITTEN = replace(TRACE, policy="text blind", mechanism="text", scales=[], choices=[1, 1], prompts=["a", "b", "c"])


def test_an_episode_that_several_evaluations_played_counts_once() -> None:
    other = replace(TRACE, mechanism="fresh")
    again = replace(WRITTEN, similarities=[s + 1e-7 for s in WRITTEN.similarities], versions={"torch": "other"})
    found = merge([[TRACE, WRITTEN], [other, again]])
    assert [trace.policy for trace in found] == [
        f"{TRACE.policy}, {TRACE.mechanism}",
        f"{TRACE.policy}, fresh",
        "text blind",
    ]


def test_prompters_are_told_apart_by_what_else_differs() -> None:
    restricted = replace(WRITTEN, mechanism="text seeds=1", goal_seed=42, similarities=[0.5, 0.6, 0.7])
    assert [trace.policy for trace in merge([[WRITTEN], [restricted]])] == [
        "text blind, text",
        "text blind, text seeds=1",
    ]


def test_people_are_one_user_and_are_ranked_on_the_tasks_that_all_policies_have_played(
    tmp_path: Path, command: Callable[..., None]
) -> None:
    played = [(policy, task) for policy in ("a", "b") for task in range(4 if policy == "a" else 3)]
    people = [replace(TRACE, policy=policy, task_index=task, human=f"person-{task}{policy}") for policy, task in played]
    simulated = [replace(trace, human="greedy", similarities=[0.2, *trace.similarities[1:]]) for trace in people]
    for name, traces in (("people", people), ("simulated", simulated)):
        write_traces(traces, tmp_path / name / "traces" / "all.parquet")
    both = f"evaluations=[{tmp_path / 'people'},{tmp_path / 'simulated'}]"
    command(compare.main, f"folder={tmp_path / 'both'}", both, "baseline='a, people'", "rank=true")
    report = compact((tmp_path / "both" / "report.md").read_text())
    for policy in ("a, people", "b, people", "a, greedy", "b, greedy"):
        assert f"| {policy} | 3 |" in report
    assert "## Ranking" in report
    assert "| ms an episode |" not in report


def test_evaluations_of_different_models_arent_one() -> None:
    with pytest.raises(ValueError, match="episodes with different generator can't be taken together"):
        merge([[TRACE], [replace(TRACE, generator="another")]])


def test_evaluations_of_different_mechanisms_are_compared_task_by_task(
    tmp_path: Path, command: Callable[..., None]
) -> None:
    options = ["policies=[constant:1.0]", "baseline=constant 1.0", "tasks=4", "strips=0"]
    for name in ("mixture", "fresh"):
        command(evaluate.main, f"folder={tmp_path / name}", f"mechanism={name}", *options)
    both = f"evaluations=[{tmp_path / 'mixture'},{tmp_path / 'fresh'}]"
    command(compare.main, f"folder={tmp_path / 'both'}", both, "baseline='constant 1.0, mixture'")
    assert "| constant 1.0, fresh | 4 |" in compact((tmp_path / "both" / "report.md").read_text())
    command(evaluate.main, f"folder={tmp_path / 'val'}", "env.suite=tiles-val-v1", *options)
    other = f"evaluations=[{tmp_path / 'mixture'},{tmp_path / 'val'}]"
    with pytest.raises(ValueError, match="with different suite can't be taken together: tiles-test-v1, tiles-val-v1"):
        command(compare.main, f"folder={tmp_path / 'no'}", other)


def test_an_evaluation_that_hasnt_ended_or_lost_tasks_is_refused(tmp_path: Path, command: Callable[..., None]) -> None:
    """Else the comparison would be of fewer tasks, without a word."""
    table = tmp_path / "table"
    options = ["policies=[random-bucket]", "tasks=4", "tasks_per_batch=2", "strips=0", "env.rounds=1"]
    command(evaluate.main, f"folder={table}", *options)
    one = ("baseline=random bucket", f"evaluations=[{table}]")
    command(compare.main, f"folder={tmp_path / 'whole'}", *one)
    sorted((table / "traces").iterdir())[-1].unlink()
    with pytest.raises(ValueError, match="table holds traces of 2 of its 4 tasks: files are missing"):
        command(compare.main, f"folder={tmp_path / 'less'}", *one)
    (table / "result.json").unlink()
    with pytest.raises(ValueError, match="table holds an unfinished evaluation: its command goes on with it"):
        command(compare.main, f"folder={tmp_path / 'half'}", *one)
    write_traces([], tmp_path / "none" / "traces" / "a.parquet")
    with pytest.raises(ValueError, match="none holds no episodes"):
        command(compare.main, f"folder={tmp_path / 'empty'}", f"evaluations=[{tmp_path / 'none'}]")
    assert not {"less", "half", "empty"} & {path.name for path in tmp_path.iterdir()}
