"""What a program hands over wrongly is refused in one line that says what is allowed, and nothing is taken silently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steer_env import SteeringTrace, TablePolicy, Task, evaluate, load_policy, load_suite, read_traces, write_traces
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.policies import read_policy
from steer_env.policies.stored import PolicyError
from tests.conftest import BLOTS

LARGE = 2**63


def image(**arguments: Any) -> gym.Env:
    return gym.make("steer_env/ImageSteering-v0", **(BLOTS | arguments))


def text(**arguments: Any) -> gym.Env:
    return gym.make("steer_env/TextSteering-v0", **(BLOTS | arguments))


def started(**arguments: Any) -> gym.Env:
    env = image(**arguments)
    env.reset(seed=0)
    return env


def vector() -> gym.vector.VectorEnv:
    return gym.make_vec("steer_env/ImageSteering-v0", num_envs=2, **BLOTS)


def player(act: Any, **attributes: Any) -> Any:
    """A policy of one's own, all of whose acts give that."""
    own = {"name": "mine", "training_seed": -1, "start": lambda seeds: None, "act": lambda seen: act}
    return SimpleNamespace(**own | attributes)


def played(*policies: Any, **options: Any) -> Any:
    return evaluate(list(policies), **{"tasks": 2, "rounds": 1, "quiet": True, **BLOTS, **options})


def writer(words: Any) -> Any:
    own = {"name": "mine", "training_seed": -1, "start": lambda tasks, seeds: None, "write": lambda *_: words}
    return SimpleNamespace(**own)


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"generator": None}, "generator must be a word, a mapping, or an object with id, device, .*; got None"),
    ({"metric": 3}, "metric must be a word"),
    ({"human": object}, "human must be a word"),
    ({"mechanism": []}, "mechanism must be a word"),
    ({"judges": {"": "pixel-correlation"}}, "a judge's name must be a word, got ''"),
    ({"judges": {"a": None}}, "metric must be a word"),
    ({"judges": "pixel-correlation"}, "judges must be a list or a mapping, got 'pixel-correlation'"),
    ({"judges": 3}, "judges must be a list or a mapping, got 3"),
    ({"observe": None}, "observe must be a list, got None"),
    ({"observe": "image"}, "observe must be a list, got 'image'"),
    ({"observe": [3]}, "each of observe must be text, got 3"),
    ({"goal_bank": 3}, "goal_bank must be a word, a mapping, or an object with get, put; got 3"),
    ({"device": "gpu"}, "unknown device 'gpu'; here are: cpu"),
    ({"device": "cuda:99"}, "device 'cuda:99' isn't here"),
    ({"dtype": "float64"}, "unknown dtype 'float64'"),
    ({"seeds": 10**30}, "seeds must be from 0 to 9223372036854775807"),
    ({"rounds": 10**9}, "rounds must be from 1 to 1000, got 1000000000"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_arguments_of_environments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image(**arguments)


@pytest.mark.parametrize("number", [0, 1.5, "2", None, True])
def test_so_many_environments_there_cant_be(number: Any) -> None:
    with pytest.raises(ValueError, match="num_envs must be"):
        ImageSteeringVectorEnv(number, **BLOTS)


RESETS: list[tuple[Any, str]] = [
    ({"seed": -1}, "seed must be at least 0, got -1"),
    ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
    ({"seed": "x"}, "seed must be a whole number"),
    ({"options": "x"}, "options must be a mapping, got 'x'"),
    ({"options": {"task_index": 60_000}}, "task_index must be from 0 to 59999, got 60000"),
    ({"options": {"task_index": -1}}, "task_index must be from 0 to 59999"),
    ({"options": {"task_index": 1.7}}, "task_index must be a whole number, got 1.7"),
    ({"options": {"task_index": "0"}}, "task_index must be a whole number"),
    ({"options": {"episode_seed": LARGE}}, "episode_seed must be from 0 to 9223372036854775807"),
]


@pytest.mark.parametrize(("arguments", "message"), RESETS)
def test_resets_of_one(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image().reset(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [0, 1.5]}, "each seed must be a whole number, got 1.5"),
        ({"seed": [0, -1]}, "each seed must be at least 0"),
        ({"seed": np.nan}, "seed must be a finite number"),
        ({"options": {"task_index": 3}}, "task_index must have one entry for each of the 2 environments, got 3"),
        ({"options": {"task_index": [1, None]}}, "task_index must be a whole number, got None"),
        ({"options": {"episode_seed": [1, 2.5]}}, "episode_seed must be a whole number"),
    ],
)
def test_resets_of_many(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vector().reset(**arguments)


def test_seeds_may_be_numpys() -> None:
    seen, _ = image().reset(seed=np.int64(3))
    assert np.array_equal(seen, image().reset(seed=3)[0])


@pytest.mark.parametrize("action", [None, [[]], "x", np.array([True]), np.array(["0.5"]), np.array([0.5j]), [0.5, [1]]])
def test_actions_that_arent_numbers(action: Any) -> None:
    with pytest.raises(ValueError, match=r"must be numbers|shape"):
        started(action="scale").step(action)


def test_a_prompt_that_isnt_one() -> None:
    env = text()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="1 environments need as many prompts, got "):
        env.step({"prompt": "a star"})
    many = gym.make_vec("steer_env/TextSteering-v0", num_envs=2, **BLOTS)
    many.reset(seed=0)
    with pytest.raises(ValueError, match="2 environments need as many prompts, got None"):
        many.step(None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "3"}, "tasks must be a whole number, got '3'"),
        ({"tasks": 1}, "tasks must be at least 2, got 1"),
        ({"tasks_per_batch": -1}, "tasks_per_batch must be at least 1"),
        ({"noise": -1}, "noise must be at least 0, got -1"),
        ({"noise": None}, "noise must be a whole number"),
        ({"threshold": float("nan")}, "threshold must be a finite number"),
        ({"action": "directions"}, "action is settled by the policies and the evaluation: leave it out"),
        ({"num_envs": 3}, "num_envs is settled"),
    ],
)
def test_evaluations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        played("random-bucket", **options)


@pytest.mark.parametrize("policies", [None, 3, {"random-bucket"}, "random-bucket"])
def test_policies_are_a_list(policies: Any) -> None:
    with pytest.raises(ValueError, match="policies must be a list of at least one, got"):
        evaluate(policies, tasks=2)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (None, "policy must be a word, a mapping, or an object with name, training_seed, start, act; got None"),
        (TablePolicy, "policy must be a word"),
        (SimpleNamespace(name="mine", act=None), "policy must be a word"),
        (player(0.5, name=3), "name of a policy must be 1 to 200 printable characters, got '3'"),
        (player(0.5, training_seed="x"), "training_seed must be a whole number, got 'x'"),
    ],
)
def test_objects_that_are_no_policies(policy: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_policy(policy)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (player(None), "policy 'mine' must give 2 actions, one an episode; it gave no list of actions"),
        (player(0.5), "it gave no list of actions"),
        (player(np.full(3, 0.5)), "it gave 3 actions"),
        (writer("ab"), "must give 2 prompts, one an episode; it gave no list of prompts"),
        (writer(["star"]), "it gave 1 prompts"),
    ],
)
def test_a_policy_that_doesnt_act_for_each_episode(policy: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        played(policy)


def test_what_one_policy_gives_too_much_another_may_not_lack() -> None:
    with pytest.raises(PolicyError, match="policy 'many' must give 2 actions, one an episode; it gave 3"):
        played(player(np.full(3, 0.1), name="many"), player(np.full(1, 0.9), name="few"))


def test_an_object_doesnt_pool_with_a_built_in_policy_of_its_name() -> None:
    with pytest.raises(PolicyError, match="policies called 'random bucket' were trained differently"):
        played("random-bucket", player(np.full(2, 0.5), name="random bucket", training_seed=3))


TABLE = [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TablePolicy("mine", 0.5), "scales must be a list, got 0.5"),  # type: ignore[arg-type]
        (lambda: TablePolicy("mine", None), "scales must be a list, got None"),  # type: ignore[arg-type]
        (lambda: TablePolicy("mine", np.array(0.5)), "scales must be a list"),
        (lambda: TablePolicy("mine", np.array([[True, False]])), "mixture scales must be numbers"),
        (lambda: TablePolicy("a\nb", np.array(TABLE)), "name must be 1 to 80 plain characters"),
        (lambda: TablePolicy("mine", np.array(TABLE), -2), "training_seed must be from -1 to 9223372036854775807"),
        (lambda: TablePolicy.schedule("mine", 0.5), "scales must be a list, got 0.5"),  # type: ignore[arg-type]
    ],
)
def test_tables(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        make()


def test_a_table_keeps_numpys_seed(tmp_path: Path) -> None:
    TablePolicy("mine", np.array(TABLE), int(np.int64(3))).save(tmp_path)
    TablePolicy("mine", np.array(TABLE), np.int64(3)).save(tmp_path)  # type: ignore[arg-type]
    assert read_policy(tmp_path).training_seed == 3


@pytest.mark.parametrize("name", [None, 3, b"tiles-test-v1"])
def test_a_suite_is_a_name(name: Any) -> None:
    with pytest.raises(ValueError, match="suite must be text, got"):
        load_suite(name)


EPISODE = SteeringTrace.of(
    Task(suite="tiles-test-v1", index=4, goal_prompt="stars", goal_seed=1, prompt="star", initial_seed=2),
    **{"policy": "p", "human": "greedy", "generator": "g", "metric": "m", "mechanism": "x"},
    **{"similarities": [0.25, 0.5], "scales": [0.5], "choices": [1]},
)


def test_traces_may_be_named_by_text(tmp_path: Path) -> None:
    write_traces([EPISODE], str(tmp_path / "a.parquet"))
    assert read_traces(str(tmp_path)) == read_traces(str(tmp_path / "a.parquet")) == [EPISODE]
    for wrong in (None, 3, [tmp_path]):
        with pytest.raises(ValueError, match="traces are read from paths, each text or a Path, got"):
            read_traces(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("similarities", value) for value in (None, [], [0.1, None], ["a", "b"], 0.5)),
        *(("choices", value) for value in (None, [None], ["x"])),
        *(("policy", None), ("human", None), ("task_index", None), ("training_seed", None)),
        *(("judged", value) for value in (None, [{"key": "a", "value": None}], [{"key": None, "value": [0.1, 0.2]}])),
    ],
)
def test_traces_that_others_wrote_hold_what_ours_do(column: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_traces([EPISODE], path)
    table = pq.read_table(path)
    metadata = {key: each for key, each in table.schema.metadata.items() if key != b"steer_env.seal"}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    assert read_traces(path) == [EPISODE]
    pq.write_table(pa.table(table.to_pydict() | {column: [value]}).replace_schema_metadata(metadata), path)
    with pytest.raises(ValueError, match=r"a\.parquet is no readable trace file: .+"):
        read_traces(path)
