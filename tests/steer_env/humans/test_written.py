"""Users who have a language model write."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from experiments import evaluate
from steer_env.humans.writers import INSTRUCTIONS, Request, WriterError, WrittenPrompter
from steer_env.tasks import load_suite
from steer_env.testing import check_prompter
from steer_env.traces import read_traces
from tests.steer_env.humans.server import Reply, completion, server

TASKS = load_suite("tiles-val-v1")[:4]


class Echo:
    """Remembers what it was asked, and answers as it is told."""

    id = "echo"

    def __init__(self, answer: Callable[[Request], str] = str) -> None:
        self.asked: list[Request] = []
        self._answer = answer

    def write(self, requests: Sequence[Request]) -> list[str]:
        self.asked += requests
        return [self._answer(request) for request in requests]


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_it_passes_the_check(name: str) -> None:
    check_prompter(lambda: WrittenPrompter(name, Echo(lambda request: f"a tiling {request.seed}")), TASKS)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_nobody_is_told_the_goal(name: str) -> None:
    writer = Echo()
    prompter = WrittenPrompter(name, writer)
    prompter.start(TASKS, [1, 2, 3, 4])
    prompter.write([[task.prompt, "another"] for task in TASKS], np.full((4, 2), 0.25))
    for request, task in zip(writer.asked, TASKS, strict=True):
        assert task.goal_prompt not in request.question + request.instructions
        assert task.prompt in request.question
        assert ("0.250: another" in request.question) == (name == "feedback")
    assert len({request.seed for request in writer.asked}) == 4


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [('"Nine red\nstars."\n', "Nine red stars."), ("“a star” 🌟", "a star"), ("x" * 2000, "x" * 1000)],
)
def test_an_answer_becomes_a_prompt_that_environments_take(answer: str, prompt: str) -> None:
    prompter = WrittenPrompter("blind", Echo(lambda _: answer))
    prompter.start(TASKS[:1], [1])
    assert prompter.write([["a"]], np.zeros((1, 1))) == [prompt]


def test_an_answer_without_a_prompt_is_an_error() -> None:
    prompter = WrittenPrompter("blind", Echo(lambda _: " \n'' "))
    prompter.start(TASKS[:1], [1])
    with pytest.raises(WriterError, match=r"echo answered .*, no prompt, to: a star"):
        prompter.write([["a star"]], np.zeros((1, 1)))


def test_they_are_evaluated_beside_policies_and_a_rerun_asks_nothing(
    tmp_path: Path, command: Callable[..., None]
) -> None:
    def reply(body: dict) -> Reply:
        return completion("some red stars" if "other words" in body["messages"][0]["content"] else "nine blue rings")

    writer = ("writer=endpoint", "writer.model=stub", f"writer.cache={tmp_path / 'answers.sqlite'}")
    small = ("tasks=3", "strips=0", "env.rounds=2", *writer)
    policies = "policies=[random-bucket,written:blind,written:feedback]"
    with server(reply) as (url, asked):
        command(evaluate.main, f"folder={tmp_path / 'one'}", policies, *small, f"writer.base_url={url}")
        first = len(asked)
        command(evaluate.main, f"folder={tmp_path / 'two'}", policies, *small, f"writer.base_url={url}")
    assert (first, len(asked)) == (2 * 3 * 2, first)
    traces = read_traces(tmp_path / "one" / "traces")
    assert traces == read_traces(tmp_path / "two" / "traces")
    prompts = {trace.policy: list(trace.prompts[1:]) for trace in traces if trace.prompts}
    assert prompts == {
        "text blind by stub": ["some red stars"] * 2,
        "text feedback by stub": ["nine blue rings"] * 2,
    }


def test_they_need_somebody_who_writes(tmp_path: Path, command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="a language model need one: writer=endpoint or writer=local"):
        command(evaluate.main, f"folder={tmp_path / 'new'}", "policies=[random-bucket,written:blind]")
    assert not (tmp_path / "new").exists()
