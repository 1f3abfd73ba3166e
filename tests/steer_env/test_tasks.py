import pytest

from steer_env import tiles
from steer_env.tasks import SUITES, load_suite

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
    assert words <= set(tiles.VOCABULARY)
    assert words & {"crimson", "hoop", "turquoise"}, "users have words of their own"


def test_an_unknown_suite_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="unknown suite 'tiles-test-v2'; did you mean 'tiles-test-v1'"):
        load_suite("tiles-test-v2")


def test_an_index_out_of_range_is_named() -> None:
    with pytest.raises(IndexError, match="has tasks 0 to 1999, not 2000"):
        load_suite("tiles-test-v1")[2000]


def test_registries_are_immutable() -> None:
    with pytest.raises(TypeError):
        SUITES["mine"] = ("train", 1, 1)  # type: ignore[index]
