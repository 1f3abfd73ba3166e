"""Finished evaluations, read again: merged, or one policy's episodes of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.files import RESULT
from experiments.run.folder import CONFIG, written
from steer_env.files import read_json
from steer_env.traces import PERSON, SteeringTrace, check_alike, read_traces


def read_evaluation(evaluation: str) -> list[SteeringTrace]:
    """All traces of an evaluation, or of what else has left some; refused where it hasn't ended, or lacks tasks."""
    folder = Path(evaluation).expanduser()
    traces = read_traces(folder / "traces")
    if not traces:
        raise ValueError(f"{folder} holds no episodes")
    if not (folder / CONFIG).is_file() or "policies" not in written(folder / CONFIG):
        return traces
    if not (folder / RESULT).is_file():
        raise ValueError(f"{folder} holds an unfinished evaluation: its command goes on with it")
    tasks, played = read_json(folder / RESULT).get("tasks"), len({trace.task_index for trace in traces})
    if tasks != played:
        raise ValueError(f"{folder} holds traces of {played} of its {tasks} tasks: files are missing")
    return traces


def read_policy(evaluation: str, policy: str) -> list[SteeringTrace]:
    """The traces of one policy; a ValueError names those that there are."""
    traces = read_evaluation(evaluation)
    own = [trace for trace in traces if trace.policy == policy]
    if not own:
        names = ", ".join(sorted({trace.policy for trace in traces}))
        raise ValueError(f"{evaluation} has no policy {policy!r}; it has: {names}")
    return own


def sessions_in(places: Sequence[str]) -> list[SteeringTrace]:
    """The sessions of image steering in folders of traces, or of commands that left some, in the order of their files.

    None, or a folder without traces, is an error.
    """
    folders = [Path(place).expanduser() for place in places]
    inner = [folder / "traces" if (folder / "traces").is_dir() else folder for folder in folders]
    traces = [trace for trace in read_traces(*inner) if trace.scales]
    if not traces:
        raise ValueError(f"no session of image steering in {', '.join(places)}")
    return traces


def merge(evaluations: Sequence[Sequence[SteeringTrace]]) -> list[SteeringTrace]:
    """Traces of several evaluations, whose policies are named after the mechanism or user that differs.

    People are one user. Prompters are users themselves. An episode that was played in several evaluations counts once.

    Raises:
        ValueError: evaluations on different suites, or with different generators or metrics.
    """
    traces = list({_episode(trace): trace for evaluation in evaluations for trace in evaluation}.values())
    check_alike(traces, ("suite", "generator", "metric"))
    chosen, written = ([trace for trace in traces if bool(trace.prompts) is kind] for kind in (False, True))
    return [*_named(chosen, ("mechanism", "human")), *_named(written, ("mechanism",))]


def on_common_tasks(traces: Sequence[SteeringTrace]) -> list[SteeringTrace]:
    """The traces, of one suite, on the tasks that all of their policies have played."""
    played: dict[str, set[int]] = {}
    for trace in traces:
        played.setdefault(trace.policy, set()).add(trace.task_index)
    common = set.intersection(*played.values()) if played else set()
    return [trace for trace in traces if trace.task_index in common]


def _episode(trace: SteeringTrace) -> tuple[Any, ...]:
    """All that settles what happens in it."""
    player = (trace.policy, trace.training_seed, trace.mechanism, trace.human, trace.generator, trace.metric)
    played = (tuple(trace.scales), tuple(trace.choices), tuple(trace.prompts))
    return (*player, *played, trace.suite, trace.task_index, trace.episode_seed, trace.goal_seed, trace.initial_seed)


def _named(traces: Sequence[SteeringTrace], parts: Sequence[str]) -> list[SteeringTrace]:
    def called(trace: SteeringTrace, part: str) -> str:
        value = str(getattr(trace, part))
        return "people" if part == "human" and value.startswith(PERSON) else value

    varying = [part for part in parts if len({called(trace, part) for trace in traces}) > 1]
    return [
        replace(trace, policy=", ".join([trace.policy, *(called(trace, part) for part in varying)])) for trace in traces
    ]
