from pathlib import Path

import pytest

from steer_env.tasks import SUITES, load_suite
from steer_env.tiles import tilings

FIRST_TEST_TASK = (
    "one medium upright black ring, plain, on a red background, no border",
    417660769,
    "dark tiles, plain",
    1059085980,
)


def test_suites_of_different_splits_share_no_goal() -> None:
    goals = {name: {task.goal_prompt for task in load_suite(name)[:1500]} for name in SUITES}
    for name, prompts in goals.items():
        for other in goals:
            assert name == other or not prompts & goals[other]


def test_a_task_is_a_function_of_suite_and_index() -> None:
    fresh = type(load_suite("tiles-val-v1"))("tiles-val-v1", *SUITES["tiles-val-v1"])
    assert fresh[17] == load_suite("tiles-val-v1")[17]
    assert load_suite("tiles-val-v1")[3:5] == [fresh[3], fresh[4]]


def test_the_first_tasks_never_change() -> None:
    """Results on a versioned suite are comparable only while its tasks stay as they are."""
    task = load_suite("tiles-test-v1")[0]
    assert (task.goal_prompt, task.goal_seed, task.prompt, task.initial_seed) == FIRST_TEST_TASK


def test_user_prompts_are_vaguer_than_goal_prompts() -> None:
    tasks = load_suite("tiles-test-v1")[:300]
    lengths = [(len(task.prompt.split()), len(task.goal_prompt.split())) for task in tasks]
    assert all(user < goal for user, goal in lengths)
    words = {word.strip(",") for task in tasks for word in task.prompt.split()}
    assert words <= set(tilings.VOCABULARY)
    assert words & {"crimson", "hoop", "turquoise"}, "users have words of their own"


def test_an_unknown_suite_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="unknown suite 'tiles-test-v2'; did you mean 'tiles-test-v1'"):
        load_suite("tiles-test-v2")


def test_an_index_out_of_range_is_named() -> None:
    with pytest.raises(IndexError, match="has tasks 0 to 1999, not 2000"):
        load_suite("tiles-test-v1")[2000]


def csv_file(folder: Path, text: str) -> str:
    (folder / "tasks.csv").write_text(text, encoding="utf-8")
    return f"csv:{folder / 'tasks.csv'}"


def test_tasks_come_from_a_file(tmp_path: Path) -> None:
    text = 'id,prompt,goal_prompt,goal_seed\n1,"a cat, ✓","a ""black"" cat\non a roof",7\n2,a dog,a big dog,\n'
    suite = load_suite(csv_file(tmp_path, text))
    first, second = suite
    assert (first.prompt, first.goal_prompt, first.goal_seed) == ("a cat, ✓", 'a "black" cat\non a roof', 7)
    assert len({first.initial_seed, second.initial_seed, second.goal_seed}) == 3
    assert (second.index, second.suite) == (1, suite.name)
    assert load_suite(suite.name)[:] == suite[:]
    assert load_suite(suite.name) is load_suite(suite.name)
    (tmp_path / "tasks.csv").write_text("prompt,goal_prompt\na,b\n")
    with pytest.raises(ValueError, match="has changed: its hash is "):
        load_suite(suite.name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,goal\na,b\n", r"lacks the columns goal_prompt; it has: \['prompt', 'goal'\]"),
        ("prompt,goal_prompt\na,b\n, c\n", "line 3: prompt is empty"),
        ("prompt,goal_prompt\na,\n", "line 2: goal_prompt is empty"),
        ("prompt,goal_prompt,goal_seed\na,b,-3\n", "line 2: goal_seed must be a non-negative integer below"),
        ("prompt,goal_prompt,goal_seed\na,b,9223372036854775808\n", "line 2: goal_seed must be a non-negative integer"),
        (f"prompt,goal_prompt,goal_seed\na,b,{'9' * 5000}\n", "line 2: goal_seed must be a non-negative integer"),
        ("prompt,goal_prompt\na,b\x00\n", r"line 2: (a field holds the control character '\\x00'|line contains NUL)"),
        ("prompt,goal_prompt\na,\x1b[2Jb\n", "line 2: a field holds the control character"),
        ("goal_prompt,prompt\na cat,on a sofa, photo\n", "line 2: 3 fields, where there are 2 columns; a field with a"),
        ("goal_prompt,prompt\na cat\n", "line 2: 1 fields, where there are 2 columns"),
        ("goal_prompt,prompt,prompt\na,b,c\n", "has a column twice"),
        ('goal_prompt,prompt\n"a,b\n', "line 2: unexpected end of data"),
        ("prompt,goal_prompt\n", "holds no rows"),
        ("", "lacks the columns goal_prompt, prompt"),
    ],
)
def test_a_bad_file_of_tasks_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_suite(csv_file(tmp_path, text))


def test_another_encoding_is_named_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "tasks.csv").write_bytes("prompt,goal_prompt\na,b\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"tasks\.csv isn't UTF-8: byte 0 is 0xff"):
        load_suite(f"csv:{tmp_path}/tasks.csv")


def test_seeds_as_a_data_frame_writes_them(tmp_path: Path) -> None:
    assert load_suite(csv_file(tmp_path, "prompt,goal_prompt,goal_seed\na,b,42.0\n"))[0].goal_seed == 42


def test_a_file_is_that_of_the_current_folder_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        csv_file(tmp_path / name, f"prompt,goal_prompt\n{name},goal\n")
        monkeypatch.chdir(tmp_path / name)
        assert load_suite("csv:tasks.csv")[0].prompt == name
    csv_file(tmp_path / "b", "prompt,goal_prompt\nc,goal\n")
    assert load_suite("csv:tasks.csv")[0].prompt == "c"


def test_paths_may_hold_an_at_and_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "me@home").mkdir()
    suite = load_suite(csv_file(tmp_path / "me@home", "prompt,goal_prompt\na,b\n"))
    assert load_suite(suite.name) is not None
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_suite("csv:~/me@home/tasks.csv")[0].prompt == "a"


def test_a_missing_file_of_tasks() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of rows at nowhere\.csv"):
        load_suite("csv:nowhere.csv")


def test_registries_are_immutable() -> None:
    with pytest.raises(TypeError):
        SUITES["mine"] = ("train", 1, 1)  # type: ignore[index]
