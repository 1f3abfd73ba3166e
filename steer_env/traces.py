"""The one record of an episode, from which every metric, table and plot is computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steer_env.files import write_atomically
from steer_env.types import Task

TRACE_VERSION = 4
_READABLE = {1, 2, 3, TRACE_VERSION}
"""Version 1 had neither seeds nor guidance scales that users choose; it and 2 had Arrow's maps, which few tools read;
versions before 4 had no propensities, actions or passes."""
PERSON = "person-"
"""How the ids of people begin, who are humans in traces."""
_VERSION_KEY = b"steer_env.trace_version"


_SEAL_KEY = b"steer_env.seal"
"""Hash of each column; files that others wrote have none."""


class TraceVersionError(ValueError):
    """A trace file written by an incompatible version, or by something else, or a damaged one."""


@dataclass(frozen=True, kw_only=True)
class SteeringTrace:
    """What happened in one episode, whether a simulated or a real user steered.

    Args:
        suite, task_index, goal_prompt, goal_seed, prompt, initial_seed: the task.
        episode_seed: of the noise behind the proposals; −1 where it isn't known.
        mechanism: steering distribution, or ``text``.
        policy: name of the policy, or of the prompter.
        training_seed: seed of the policy's training; −1 for a policy that wasn't trained.
        human, generator, metric: ids of the parts.
        scales: (R,), mixture scale of each round; empty for text steering, and where actions are others.
        actions: R lists, each round's action where it isn't a mixture scale, flattened; empty otherwise.
        choices: (R,), 0 if the user stayed, k for proposal k; empty for text steering.
        propensities: (R,), probability with which the policy played each round's scale, given what it saw: 1 for a
            policy without randomness; empty where it isn't known.
        similarities: (1 + R,), similarity to the goal of the image held at each attempt, the initial one first.
        judged: by name of a further metric, (1 + R,), the same under it.
        prompts: (1 + R,), prompt of each attempt where the user rewrites it; empty for image steering.
        seeds: (1 + R,), seed of each attempt's latent where users choose it (paper, B.3); empty otherwise.
        guidance: (1 + R,), guidance scale of each attempt where users choose it (B.4); empty otherwise.
        texts: (1 + R,), what came of each prompt where the generator writes texts; empty where it makes images.
        goal_text: the goal, where it is a text.
        versions: of the packages that made it.
        images: generated for it, goal and first image included, and what the mechanism made beyond those shown; None
            where it wasn't counted, as in older files.
        passes: of the denoiser, that those images took, at the generator's own settings, and the mechanism's previews
            or predictions, in full passes; None where they weren't counted.
    """

    suite: str
    task_index: int
    goal_prompt: str
    goal_seed: int
    prompt: str
    initial_seed: int
    episode_seed: int = -1
    mechanism: str
    policy: str
    training_seed: int = -1
    human: str
    generator: str
    metric: str
    scales: Sequence[float] = field(default_factory=list)
    actions: Sequence[Sequence[float]] = field(default_factory=list)
    choices: Sequence[int] = field(default_factory=list)
    propensities: Sequence[float] = field(default_factory=list)
    similarities: Sequence[float]
    judged: dict[str, Sequence[float]] = field(default_factory=dict)
    prompts: Sequence[str] = field(default_factory=list)
    seeds: Sequence[int] = field(default_factory=list)
    guidance: Sequence[float] = field(default_factory=list)
    texts: Sequence[str] = field(default_factory=list)
    goal_text: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    images: int | None = None
    passes: float | None = None

    @classmethod
    def of(cls, task: Task, **record: Any) -> SteeringTrace:
        """What happened in an episode on a task; the other fields by name, unknown ones left out."""
        own = asdict(task)
        return cls(task_index=own.pop("index"), **own, **record)

    @property
    def improvement(self) -> float:
        """similarity(final, goal) − similarity(initial, goal): the episode's reward (paper, C.2)."""
        return self.similarities[-1] - self.similarities[0]


def check_alike(traces: Iterable[SteeringTrace], parts: Sequence[str]) -> None:
    """Were all episodes played with the same parts?

    Raises:
        ValueError: naming a part that differs, and what was found.
    """
    values: dict[str, set[str]] = {part: set() for part in parts}
    for trace in traces:
        for part, distinct in values.items():
            distinct.add(getattr(trace, part))
    for part, distinct in values.items():
        if len(distinct) > 1:
            raise ValueError(f"episodes with different {part} can't be taken together: {', '.join(sorted(distinct))}")


_INTEGERS = {"task_index", "goal_seed", "initial_seed", "episode_seed", "training_seed", "images"}
_LISTS = {
    "scales": pa.float64(),
    "actions": pa.list_(pa.float32()),
    "choices": pa.int64(),
    "propensities": pa.float64(),
    "similarities": pa.float64(),
    "prompts": pa.string(),
    "texts": pa.string(),
    "seeds": pa.int64(),
    "guidance": pa.float64(),
}
_MAPPINGS = {"judged": pa.list_(pa.float64()), "versions": pa.string()}
"""Written as lists of key and value."""
_RANGES = {"scales": (0, 1), "choices": (0, 1000), "propensities": (0, 1)}
_UNCOUNTED = ("images", "passes")
"""What may be missing."""


def _column(name: str) -> pa.DataType:
    if name in _LISTS:
        return pa.list_(_LISTS[name])
    if name in _MAPPINGS:
        return pa.list_(pa.struct({"key": pa.string(), "value": _MAPPINGS[name]}))
    if name == "passes":
        return pa.float64()
    return pa.int64() if name in _INTEGERS else pa.string()


SCHEMA = pa.schema(
    [(f.name, _column(f.name)) for f in fields(SteeringTrace)],
    metadata={_VERSION_KEY: json.dumps(TRACE_VERSION).encode()},
)


def write_traces(traces: Iterable[SteeringTrace], path: str | Path) -> None:
    """Write a Parquet file, all or nothing: a reader never sees half of it."""
    rows = list(traces)
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    for name in _MAPPINGS:
        columns[name] = [[{"key": key, "value": value} for key, value in each.items()] for each in columns[name]]
    table = pa.Table.from_pydict(columns, schema=SCHEMA)
    table = table.replace_schema_metadata({**table.schema.metadata, _SEAL_KEY: json.dumps(_seal(table))})
    write_atomically(Path(path).expanduser(), lambda file: pq.write_table(table, file, write_page_checksum=True))


def _seal(table: pa.Table) -> dict[str, str]:
    columns = {name: json.dumps(table[name].to_pylist()).encode() for name in table.column_names}
    return {name: hashlib.sha256(column).hexdigest() for name, column in columns.items()}


def read_traces(*paths: str | Path) -> list[SteeringTrace]:
    """Read and join Parquet files, or all those in a folder, in the order of their names.

    Raises:
        FileNotFoundError: no such file, or a folder without any.
        TraceVersionError: a file of another version, a damaged one, or one that holds no traces, or impossible ones.
        ValueError: what isn't a path.
    """
    if wrong := [path for path in paths if not isinstance(path, str | Path)]:
        raise ValueError(f"traces are read from paths, each text or a Path, got {wrong[0]!r:.60}")
    return [trace for path in _files([Path(path).expanduser() for path in paths]) for trace in _read(path)]


def read_improvements(folder: Path, most: int) -> np.ndarray:
    """Of each episode, float (n,), without reading the rest; of files that may be a stranger's.

    Raises:
        FileNotFoundError: no trace file.
        TraceVersionError: a damaged file, more than ``most`` episodes, or longer ones than any that was played.
    """
    lengths: list[np.ndarray] = []
    for path in _files([folder]):
        try:
            with pq.ParquetFile(path) as file:
                episodes, metadata = file.metadata.num_rows, file.metadata
                columns = [c for g in range(metadata.num_row_groups) for c in _similarities(metadata.row_group(g))]
                most -= episodes
                if most < 0 or sum(column.num_values for column in columns) > _LONGEST * episodes:
                    raise ValueError("it holds more than its checkpoint counts")
                values = file.read(columns=["similarities"])["similarities"].to_pylist()
            lengths.append(np.array([row[-1] - row[0] for row in values], dtype=np.float64))
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError) as error:
            raise TraceVersionError(f"{path} is no readable trace file: {str(error)[:300]}") from error
    return np.concatenate(lengths)


_LONGEST = 1000
"""Attempts of an episode."""


def _similarities(group: Any) -> list[Any]:
    columns = [group.column(place) for place in range(group.num_columns)]
    return [column for column in columns if column.path_in_schema.startswith("similarities")]


def _typed(table: pa.Table) -> pa.Table:
    """A table that others wrote, with the types of ours; raises a ValueError where a value is missing."""
    for name in table.column_names:
        if name in SCHEMA.names and name not in _MAPPINGS:
            place, field = table.column_names.index(name), SCHEMA.field(name)
            table = table.set_column(place, field, table[name].cast(field.type))
        inner = pc.list_flatten(table[name]) if name in _LISTS else table[name]
        if name not in _UNCOUNTED and (inner.null_count or table[name].null_count):
            raise ValueError(f"{name} lacks a value")
    for name, (least, most) in _RANGES.items():
        if name in table.column_names and len(values := pc.list_flatten(table[name])):
            found = pc.min_max(values).as_py()
            if not least <= found["min"] <= found["max"] <= most:
                raise ValueError(f"{name} must be from {least} to {most}, found {found['min']} to {found['max']}")
    if "similarities" in table.column_names and pc.min(pc.list_value_length(table["similarities"])).as_py() == 0:
        raise ValueError("an episode has no similarities")
    return table


def _trace(row: dict[str, Any]) -> SteeringTrace:
    for name in _MAPPINGS:
        # Files before version 3 have mappings, and the first of them nothing.
        if isinstance(pairs := row.get(name), list):
            row[name] = {pair["key"]: pair["value"] for pair in pairs}
        if None in (held := row.get(name) or {}) or None in held.values():
            raise ValueError(f"{name} lacks a value")
    return SteeringTrace(**row)


def _files(paths: Sequence[Path]) -> list[Path]:
    files = [file for path in paths for file in (sorted(path.glob("*.parquet")) if path.is_dir() else [path])]
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        raise FileNotFoundError(f"no trace file at {', '.join(missing or map(str, paths))}")
    return files


def _read(path: Path) -> list[SteeringTrace]:
    try:
        # Without partitions, as a sweep's folder such as seed=1 is no column.
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
        metadata = table.schema.metadata or {}
        version = json.loads(metadata.get(_VERSION_KEY, b"null"))
        sealed = json.loads(metadata.get(_SEAL_KEY, b"{}"))
        whole = not sealed or all(sealed.get(name) == seal for name, seal in _seal(table).items())
        table = table if sealed else _typed(table)
        rows = table.to_pylist(maps_as_pydicts="strict") if whole and version in _READABLE else []
        traces = [_trace(row) for row in rows]
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise TraceVersionError(f"{path} is no readable trace file: {str(error)[:300]}") from error
    if version not in _READABLE:
        raise TraceVersionError(f"{path} has trace version {version}, this is version {TRACE_VERSION}: convert it")
    if not whole:
        raise TraceVersionError(f"{path} is damaged: its rows aren't what its seal says")
    return traces


def traces_to_frame(traces: Sequence[SteeringTrace]) -> pd.DataFrame:
    """One row a trace, with columns as :class:`SteeringTrace` has fields, and ``improvement``."""
    frame = pd.DataFrame([asdict(trace) for trace in traces], columns=[f.name for f in fields(SteeringTrace)])
    frame["improvement"] = [trace.improvement for trace in traces]
    return frame
