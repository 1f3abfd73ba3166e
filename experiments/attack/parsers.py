"""Fuzzing of every parser of a foreign file: only its own errors, in one line, and soon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from agents.files import read_checkpoint
from experiments.run.headlines.tasks import load_headlines
from experiments.run.options import PARTS
from steer_env.evaluation.claims import Claim
from steer_env.files import read_json
from steer_env.humans import HUMANS, PROMPTERS
from steer_env.mechanisms import ACTIONS
from steer_env.policies import HistoryPolicy, TablePolicy, read_policy
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.policies.names import POLICIES
from steer_env.policies.networks import NetworkPolicy
from steer_env.registry import parse_spec, resolve
from steer_env.tasks import load_suite
from steer_env.traces import SteeringTrace, read_improvements, read_traces, write_traces
from steer_env.types import Task

Parser = Callable[[Path], object]
_SLOW = 5.0
"""Seconds that no file of a few kB may take."""


def parsers(folder: Path) -> dict[str, tuple[Parser, list[bytes]]]:
    """By name: what reads a file, and good files to begin with, some of which are made in the folder."""
    # As a module of its own: it is attacked, not used.
    read_jobs = import_module("experiments.sweep_status").read_jobs
    card = PolicyCard(TrainingRecord("tiles-train-v1", 8, {"cells": "round", "a": [1, {"b": 0.5}]}, {"numpy": "2"}))
    TablePolicy("mine", np.full((2, 2), 0.5), 3, card).save(folder / "table")
    HistoryPolicy("mine", [np.full(2**i, 0.5) for i in range(3)]).save(folder / "histories")
    policies = [(folder / name / "policy.json").read_bytes() for name in ("table", "histories")]
    unsealed = [
        json.dumps({k: v for k, v in json.loads(policy).items() if k != "seal"}).encode() for policy in policies
    ]
    traces = _traces(folder / "traces.parquet")
    table = b'goal_prompt,prompt,goal_seed,initial_seed\n"a cat, red",a cat,1,42.0\na dog,dog,,\n'
    headlines = b'original,goal,goal_prompt,goal_seed\n"Sun, again",The Sun Sets,,\nx,,make it dark,7\n'
    checkpoint = json.dumps({"identity": {}, "episodes": 8, "traces": {}, "files": {}, "agent": [], "seal": "0" * 64})
    claim: dict[str, Any] = {
        "policy": "p",
        "content": "0f",
        "suite": "s",
        "generator": "g",
        "metric": "m",
        "human": "h",
    }
    claim |= {"mechanism": "d", "rounds": 4, "proposals": 2, "improvement": 0.2, "error": 0.01, "tasks": 9, "noise": 0}
    config = b"episodes: 8\nfolder: a\nagent:\n  kind: thompson\nmore: ${oc.env:HOME}\n"
    return {
        "policy.json": (lambda path: read_policy(path.parent), [*policies, *unsealed]),
        "traces.parquet": (lambda path: (read_traces(path), read_improvements(path.parent, 100)), [traces]),
        "policy.onnx": (lambda path: NetworkPolicy("mine", path.read_bytes(), "scale"), [_graph()]),
        "words.txt": (_words, _WORDS),
        "headlines.csv": (lambda path: load_headlines(f"csv:{path}"), [headlines]),
        "tasks.csv": (lambda path: list(load_suite(f"csv:{path}")), [table]),
        "checkpoint.json": (lambda path: read_checkpoint(path.parent), [checkpoint.encode()]),
        "claim.json": (_claim, [json.dumps(claim).encode()]),
        "config.yaml": (lambda path: read_jobs(path.parent, 2), [config]),
    }


def _claim(path: Path) -> object:
    """As agents.claims.read_claim reads it, which needs an environment."""
    try:
        return Claim(**read_json(path))
    except TypeError as error:
        raise ValueError(str(error)) from error


_WORDS = [
    *(b"bayesian:pool=96,metric=pixel-correlation", b"mixture:members=[greedy, {name: softmax, temperature: 1e-1}]"),
    *(b"tiles:steps=1,guidance_scale=2.0", b"pixel-correlation:grid=8", b"constant:0.9", b"exploring:explore=0.5"),
    *(b"directions:dimensions=32,leash=0.9", b'clip:path="a b",max_batch=3', b"person:named=[0.2, 0.1]"),
]


def _words(path: Path) -> object:
    """What names a part, of any kind."""
    word = path.read_bytes().decode()
    name, _ = parse_spec(word)
    kinds: list[Any] = [*PARTS.values(), HUMANS, PROMPTERS, ACTIONS, POLICIES]
    return [resolve(parts, word) for parts in kinds if name in parts and parts[name].factory]


def _graph() -> bytes:
    """A scale for each round, as a network."""
    shapes = {"round": ("n", 5), "action": ("n", 1)}
    seen, done = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in shapes.items())
    weights = [numpy_helper.from_array(np.full((5, 1), 0.5, np.float32), "scales")]
    nodes = [helper.make_node("MatMul", ["round", "scales"], ["raw"]), helper.make_node("Clip", ["raw"], ["action"])]
    graph = helper.make_graph(nodes, "policy", seen, done, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _traces(path: Path) -> bytes:
    task = Task("s", 0, "a cat", 1, "cat", 2)
    parts = {"mechanism": "m", "policy": "p", "human": "h", "generator": "g", "metric": "m"}
    write_traces([SteeringTrace.of(task, **parts, scales=[0.5], choices=[1], similarities=[0.1, 0.2])], path)
    return path.read_bytes()


_TOKENS = (b'"', b"[", b"{", b",", b"\n", b"\x00", b"1e999", b"-", b"\xff", b"null")
_EDITS = st.tuples(st.floats(0, 1), st.integers(-16, 16), st.binary(max_size=16) | st.sampled_from(_TOKENS))
"""Where, as a share of the content; how many bytes are cut out, or doubled if it is negative; and what is put there."""


def mutated(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """Good files with some bytes changed, cut out, doubled or put in; files of any JSON; and any bytes."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    )
    records = [record for each in good if isinstance(record := _json(each), dict)]
    edited = st.builds(_edited, st.sampled_from(good), st.lists(_EDITS, min_size=1, max_size=8))
    strategies = [edited, st.binary(max_size=300)]
    if records:
        changed = st.builds(
            lambda record, name, value: json.dumps({**record, name: value}).encode("utf-8", "surrogatepass"),
            st.sampled_from(records),
            st.sampled_from([name for record in records for name in record]) | st.text(max_size=10),
            values,
        )
        strategies.append(changed)
    return st.one_of(strategies)


def _json(content: bytes) -> Any:
    with suppress(ValueError):
        return json.loads(content)
    return None


def _edited(content: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    for share, cut, put in edits:
        place = round(share * len(content))
        content = content[:place] + put + content[max(0, place + cut) :]
    return content


def fuzz(name: str, parser: Parser, good: list[bytes], folder: Path, seconds: float) -> tuple[int, list[str]]:
    """Give a parser files of that name, at least a hundred, for so long; how many it had, and what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    tried, failures = 0, list[str]()

    def attempt(content: bytes) -> None:
        nonlocal tried
        tried += 1
        (folder / name).write_bytes(content)
        start = time.perf_counter()
        try:
            parser(folder / name)
        except (ValueError, OSError):
            # Others are faults; a message of several lines is printed as one.
            return
        assert time.perf_counter() - start < _SLOW, "slow"

    for content in good:
        attempt(content)
    end, number = time.monotonic() + seconds, 0
    while not number or (time.monotonic() < end and len(failures) <= 20):
        run = settings(
            max_examples=100, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck), print_blob=False,
        )(given(mutated(good))(attempt))  # fmt: skip
        try:
            seeded(number)(run)()
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
            (folder / f"{name}.failed-{number}").write_bytes((folder / name).read_bytes())
        number += 1
    return tried, failures


def attack(folder: Path, seconds: float, seed: int) -> tuple[int, list[str]]:
    """Fuzz every parser for so many seconds each, with Hypothesis's own seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    tried, failures = 0, list[str]()
    for name, (parser, good) in parsers(folder).items():
        number, grown = fuzz(name, parser, good, folder / f"of-{name}", seconds)
        tried, failures = tried + number, failures + grown
    return tried, failures
