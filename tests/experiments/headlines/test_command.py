"""``experiments.headlines`` as a user runs it, on tiny models and against a local server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.headlines import rollout
from experiments.headlines.__main__ import main
from steer_env.traces import read_traces
from tests.markdown import compact
from tests.steer_env.humans.server import Reply, completion, server

Command = Callable[..., None]


@pytest.fixture
def suite(tmp_path: Path) -> str:
    rows = ["original,goal_prompt,goal", *(f"dark stars {i},make it rain," for i in range(4)), "word1 |,,red rain"]
    (tmp_path / "own.csv").write_text("\n".join(rows) + "\n")
    return f"suite=csv:{tmp_path / 'own.csv'}"


@pytest.fixture
def small(model_folder: Path, metric_folder: Path) -> list[str]:
    return [f"model.path={model_folder}", "model.max_tokens=5", f"metric.path={metric_folder}", "attempts=3"]


def test_it_leaves_traces_and_a_report(
    tmp_path: Path, command: Command, suite: str, small: list[str], release: Path
) -> None:
    folder = tmp_path / "run"
    command(main, f"folder={folder}", suite, *small, "examples=2", f"study={release}")
    traces = read_traces(folder / "traces")
    assert [trace.policy for trace in traces] == [f"{kind} by tiny" for kind in ("goal", "feedback", "blind")
                                                  for _ in range(5)]  # fmt: skip
    assert {len(trace.similarities) for trace in traces} == {len(trace.texts) for trace in traces} == {3}
    assert {trace.goal_text for trace in traces if trace.task_index == 4} == {"red rain"}
    report = compact((folder / "report.md").read_text())
    assert report.startswith("# Text steering")
    assert "same goals, first texts and noise" in report
    assert report.count("\n| first instructions | 5 | 0 |") == 1
    assert report.count("| 1 | rewrite this headline. |") == 2, "two episodes"
    assert "| all | 19 |" in report
    people = read_traces(folder / "people")
    assert len(people) == 19
    assert {trace.metric for trace in people} == {traces[0].metric}
    assert "Forbidden words (B.2)" in (folder / "report.html").read_text()
    assert json.loads((folder / "result.json").read_text())["tasks"] == 5


def test_a_stopped_run_goes_on_and_equals_one_in_one_go(
    tmp_path: Path, command: Command, suite: str, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [suite, *small, "users=[feedback,goal]", "baseline=goal"]
    command(main, f"folder={tmp_path / 'whole'}", *given, "tasks_per_batch=5")
    parted = (f"folder={tmp_path / 'parted'}", *given, "tasks_per_batch=2")
    write, written = rollout.write_traces, []

    def interrupted(*args: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(write(*args))

    monkeypatch.setattr(rollout, "write_traces", interrupted)
    with pytest.raises(SystemExit):
        command(main, *parted)
    monkeypatch.setattr(rollout, "write_traces", write)
    assert len(read_traces(tmp_path / "parted" / "traces")) == 4
    command(main, *parted)
    whole, again = ((read_traces(tmp_path / name / "traces")) for name in ("whole", "parted"))
    assert sorted(again, key=lambda trace: (-len(trace.policy), trace.task_index)) == whole
    tables = [(tmp_path / name / "report.md").read_text() for name in ("whole", "parted")]
    assert tables[0] == tables[1]


def test_endpoints_steer_and_are_steered_and_a_rerun_asks_nothing(
    tmp_path: Path, command: Command, suite: str, metric_folder: Path
) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        roles = [message["role"] for message in body["messages"]]
        assert roles == (["user"] if body["model"] == "steered" else ["system", "user"])
        return completion(f"red stars {body['seed'] % 3}" if roles == ["user"] else "like word3")

    with server(reply) as (url, asked):
        given = [suite, f"metric.path={metric_folder}", "attempts=3"]
        for part, name in (("model", "steered"), ("writer", "user")):
            cache = f"{part}.cache={tmp_path / 'answers.sqlite'}"
            given += [f"{part}=endpoint", f"{part}.model={name}", f"{part}.base_url={url}", cache]
        command(main, f"folder={tmp_path / 'one'}", *given)
        before = len(asked)
        command(main, f"folder={tmp_path / 'two'}", *given)
    assert len(asked) == before
    traces = read_traces(tmp_path / "one" / "traces")
    assert traces == read_traces(tmp_path / "two" / "traces")
    assert {(trace.generator, trace.policy) for trace in traces} == {
        ("steered", f"{kind} by user") for kind in ("goal", "feedback", "blind")
    }
    assert all(prompt.endswith("instructions: like word3") for trace in traces for prompt in trace.prompts[1:])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("suite=tiles", "suites of headlines are csv:PATH"),
        ("tasks=6", r"tasks must be 2 to 5, the size of csv:.*, got 6"),
        ("tries=-1", "tries must be at least 0, got -1"),
        ("users=[goal,goal]", "the entries of users must differ"),
        ("users=[gaol,blind]", "unknown user 'gaol'; did you mean 'goal'"),
        ("baseline=nobody", "the baseline 'nobody' isn't among the users: goal, feedback, blind"),
        ("study=nowhere", r"nowhere lacks LLMs/data/steering_llms\.csv"),
        ("metric.path=/nowhere", "/nowhere is no folder"),
        ("model.path=/nowhere", "/nowhere can't be loaded as a causal language model"),
        ("attempts=1", "attempts must be at least 2"),
    ],
)
def test_errors_come_before_anything_is_written(
    refuses: Callable[..., None], suite: str, small: list[str], override: str, message: str
) -> None:
    refuses(main, message, suite, *small, override, error=Exception)


def test_a_file_that_changed_under_a_stopped_run_is_found_out(
    tmp_path: Path, command: Command, suite: str, small: list[str]
) -> None:
    given = (f"folder={tmp_path / 'run'}", suite, *small, "users=[blind]")
    command(main, *given, "tasks=2")
    (tmp_path / "run" / "result.json").unlink()
    path = tmp_path / "own.csv"
    path.write_text(path.read_text().replace("red rain", "dark rain"))
    with pytest.raises(ValueError, match=r"was played with csv:.*, not csv:.*: give another folder"):
        command(main, *given, "tasks=4")
