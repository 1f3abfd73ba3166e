import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steer_env.traces import (
    SCHEMA,
    SteeringTrace,
    TraceVersionError,
    check_alike,
    read_traces,
    traces_to_frame,
    write_traces,
)

TRACE = SteeringTrace(
    suite="tiles-val-v1",
    task_index=3,
    goal_prompt="four small red stars",
    goal_seed=11,
    prompt="stars",
    initial_seed=12,
    episode_seed=2**31 - 1,
    mechanism="mixture",
    policy="constant 0.9",
    training_seed=-1,
    human="greedy",
    generator="tiles-0",
    metric="m-0",
    scales=[0.9, 0.9, 0.9, 0.9],
    choices=[0, 2, 0, 1],
    similarities=[0.5, 0.5, 0.6, 0.6, 0.75],
    judged={"pixel-correlation": [0.1, 0.1, 0.3, 0.3, 0.2]},
    propensities=[1.0, 0.1, 0.5, 1.0],
    prompts=[],
    seeds=[],
    guidance=[],
    versions={"torch": "2"},
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    traces = [
        TRACE,
        replace(TRACE, task_index=4, judged={}, choices=[], scales=[], prompts=["a", "an a"], seeds=[3, 2**31]),
        replace(TRACE, task_index=5, prompts=["a", "an a"], texts=["A", "An A"], goal_text="The A"),
    ]
    write_traces(traces, tmp_path / "deep" / "traces.parquet")
    assert read_traces(tmp_path / "deep" / "traces.parquet") == traces
    assert not list(tmp_path.rglob("*.partial"))


def test_the_files_of_a_folder_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    for index in (2, 0, 1):
        write_traces([replace(TRACE, task_index=index)], tmp_path / f"{index:08d}.parquet")
    assert [trace.task_index for trace in read_traces(tmp_path)] == [0, 1, 2]


def test_files_of_the_first_version_are_read(tmp_path: Path) -> None:
    """It had neither seeds nor guidance nor texts."""
    write_traces([TRACE], tmp_path / "new.parquet")
    absent = ["seeds", "guidance", "texts", "goal_text", "propensities"]
    table = pq.read_table(tmp_path / "new.parquet").drop_columns(absent)
    old = table.replace_schema_metadata({b"steer_env.trace_version": b"1"})
    pq.write_table(old, tmp_path / "old.parquet")
    assert read_traces(tmp_path / "old.parquet") == [replace(TRACE, propensities=[])]


def test_other_tools_read_the_file(tmp_path: Path) -> None:
    write_traces([TRACE], tmp_path / "t.parquet")
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame["similarities"].iloc[0].tolist() == TRACE.similarities
    types = [field.type for field in pq.read_schema(tmp_path / "t.parquet")]
    assert not any(pa.types.is_map(kind) for kind in types), "datasets and polars refuse Arrow's maps"
    assert frame["versions"].iloc[0].tolist() == [{"key": "torch", "value": "2"}]


def test_improvement_is_last_minus_first(tmp_path: Path) -> None:
    assert TRACE.improvement == pytest.approx(0.25)
    assert traces_to_frame([TRACE])["improvement"].tolist() == [pytest.approx(0.25)]


@pytest.mark.parametrize("cost", ["images", "passes"])
def test_files_from_before_costs_were_counted_are_read(cost: str, tmp_path: Path) -> None:
    write_traces([replace(TRACE, images=10, passes=194.5)], tmp_path / "new.parquet")
    table = pq.read_table(tmp_path / "new.parquet")
    pq.write_table(table.drop_columns([cost]), tmp_path / "old.parquet")
    found = read_traces(tmp_path / "new.parquet", tmp_path / "old.parquet")
    assert [getattr(trace, cost) for trace in found] == [{"images": 10, "passes": 194.5}[cost], None]


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    traces = [TRACE, replace(TRACE, task_index=4, prompts=["a", "an a"])]
    write_traces(traces, tmp_path / "t.parquet")
    content, rng = (tmp_path / "t.parquet").read_bytes(), np.random.default_rng(0)
    refusals = []
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        (tmp_path / "t.parquet").write_bytes(damaged)
        try:
            assert read_traces(tmp_path / "t.parquet") == traces
        except TraceVersionError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert all(str(tmp_path / "t.parquet") in refusal for refusal in refusals)


class TestErrors:
    def test_an_incompatible_version_is_named(self, tmp_path: Path) -> None:
        schema = SCHEMA.with_metadata({b"steer_env.trace_version": json.dumps(99).encode()})
        pq.write_table(schema.empty_table(), tmp_path / "new.parquet")
        with pytest.raises(TraceVersionError, match=r"new.parquet has trace version 99, this is version 4"):
            read_traces(tmp_path / "new.parquet")

    def test_a_table_of_something_else(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
        with pytest.raises(TraceVersionError, match="has trace version None"):
            read_traces(tmp_path / "other.parquet")

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        write_traces([TRACE], tmp_path / "t.parquet")
        whole = (tmp_path / "t.parquet").read_bytes()
        (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(TraceVersionError, match=r"t.parquet is no readable trace file"):
            read_traces(tmp_path / "t.parquet")

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no trace file at"):
            read_traces(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"missing\.parquet"):
            read_traces(tmp_path / "missing.parquet")


def test_episodes_of_different_parts_are_not_taken_together() -> None:
    check_alike([TRACE, replace(TRACE, policy="other")], ("suite", "generator"))
    with pytest.raises(ValueError, match=r"different suite can't be taken together: .*other"):
        check_alike([TRACE, replace(TRACE, suite="other")], ("generator", "suite"))
