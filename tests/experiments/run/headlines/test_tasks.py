import hashlib
from pathlib import Path

import pytest

from experiments.run.headlines.tasks import load_headlines, prompt_for
from tests.experiments.run.released.small_release import LLM_MODELS


def csv(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"csv:{path}"


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    header = "original,goal_prompt,goal,instructions,goal_seed,initial_seed,note"
    name = csv(tmp_path / "own.csv", header, '"Rain, again",make it dark,,darker,5,6,x', "Sun,,The  Sun Sets,,,,")
    suite = load_headlines(name)
    digest = hashlib.sha256((tmp_path / "own.csv").read_bytes()).hexdigest()[:8]
    assert suite.name == f"{name}@{digest}"
    first, second = suite.tasks
    assert (first.original, first.goal, first.goal_seed, first.initial_seed) == ("Rain, again", "", 5, 6)
    assert first.goal_prompt == prompt_for("Rain, again", "make it dark")
    assert first.goal_prompt.endswith("'Rain, again'. Only return the rewritten headline. Here are my instructions: "
                                      "make it dark")  # fmt: skip
    assert (second.goal, second.goal_prompt, second.goal_seed) == ("The Sun Sets", "", -1)
    assert (first.instructions, second.instructions) == ("darker", "rewrite this headline.")
    assert load_headlines(suite.name) == suite


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["goal"], r"lacks the columns original; it has: \['goal'\]"),
        (["original,goal", ",x"], r"own\.csv, line 2: original is empty"),
        (["original,goal", "x,"], r"line 2: give goal_prompt, .* or goal, a headline; neither is there"),
        (["original,goal,goal_prompt", "x,y,z"], "both are there"),
        (["original,goal,initial_seed", "x,y,-1"], "line 2: initial_seed must be a non-negative integer below"),
        (["original,goal"], "holds no rows"),
    ],
)
def test_a_bad_file_is_an_error_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_headlines(csv(tmp_path / "own.csv", *lines))


def test_a_path_may_hold_an_at(tmp_path: Path) -> None:
    (tmp_path / "me@home").mkdir()
    suite = load_headlines(csv(tmp_path / "me@home" / "own.csv", "original,goal", "x,y"))
    assert load_headlines(suite.name) == suite


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"suites of headlines are csv:PATH, .* got 'tiles-test-v1'"):
        load_headlines("tiles-test-v1")
    with pytest.raises(FileNotFoundError, match="no file of rows at"):
        load_headlines(f"csv:{tmp_path / 'none.csv'}")
    with pytest.raises(FileNotFoundError, match=r"lacks LLMs/data/steering_llms\.csv"):
        load_headlines(f"study:{tmp_path}")


def test_the_released_goals_or_their_prompts(release: Path) -> None:
    given, written = load_headlines(f"study:{release}"), load_headlines(f"study-prompts:{release}")
    assert (given.name, written.name) == ("study-headlines", "study-headlines-prompts")
    assert len(given.tasks) == len(written.tasks) == 19
    one, other = given.tasks[0], written.tasks[0]
    assert (one.goal, one.goal_seed) == (f"Gloom Befalls the Lord {LLM_MODELS[0]}-0-0.png", -1)
    assert other.goal == ""
    assert other.goal_seed >= 0
    assert one.instructions == other.instructions == "darker, number 1"
    assert one.goal_prompt == other.goal_prompt == prompt_for("Rain over Lords", "make it dark.")
