"""Playing policies on a suite, for every experiment that does so: resumable, with pictures of some episodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation import plots
from steer_env.evaluation.collectors import Collectors
from steer_env.evaluation.leaderboard import Entry
from steer_env.evaluation.rollout import make_env, make_text_env, replay
from steer_env.evaluation.suites import evaluate
from steer_env.policies import Policy
from steer_env.policies.stored import StoredPolicy
from steer_env.traces import SteeringTrace, read_traces, write_traces
from steer_env.types import Prompter


def check_tasks(tasks: int, **options: Any) -> ImageSteeringVectorEnv:
    """Before any work: the environment, if its suite has that many tasks.

    Raises:
        ValueError: a part that doesn't exist, or too few or too many tasks.
    """
    env = make_env(1, **options)
    if options.get("choose"):
        make_text_env(1, **options)
    if not 2 <= tasks <= len(env.suite):
        raise ValueError(f"tasks must be 2 to {len(env.suite)}, the size of {env.suite.name}, got {tasks}")
    return env


def play_suite(
    policies: Sequence[Policy | Prompter],
    tasks: int,
    tasks_per_batch: int,
    folder: Path,
    noise: int = 0,
    collectors: Collectors | None = None,
    **options: Any,
) -> list[SteeringTrace]:
    """Play every policy on the first tasks of a suite, or go on where an earlier call in this folder was stopped.

    Args:
        policies: any number.
        tasks, tasks_per_batch, noise, collectors: see :func:`steer_env.evaluation.suites.evaluate`.
        folder: receives the traces, a file for each batch of tasks.
        **options: of the environment.

    Returns:
        The traces of all the tasks.
    """
    done = tasks_done(folder)
    for part in evaluate(policies, tasks, tasks_per_batch, done, noise, collectors, **options):
        write_traces(part, folder / f"{part[0].task_index:08d}.parquet")
    return [trace for trace in read_traces(folder) if trace.task_index < tasks]


def tasks_done(folder: Path) -> int:
    """How many tasks, from the first, the folder has traces of."""
    parts = sorted(folder.glob("*.parquet"))
    return 1 + max(trace.task_index for trace in read_traces(parts[-1])) if parts else 0


def time_policies(
    policies: Sequence[Policy | Prompter], tasks: int, collectors: Collectors | None = None, **options: Any
) -> dict[str, Entry]:
    """Play one policy of each name alone on the first tasks, all at a time: its leaderboard entry, by name."""
    _seconds(policies[0], tasks, collectors, **options)  # Not counted: models may still have to be loaded.
    first = {policy.name: policy for policy in reversed(policies)}
    return {
        name: Entry(_training_episodes(policy), _seconds(policy, tasks, collectors, **options) / tasks)
        for name, policy in first.items()
    }


def _seconds(policy: Policy | Prompter, tasks: int, collectors: Collectors | None, **options: Any) -> float:
    start = time.perf_counter()
    for _ in evaluate([policy], tasks, tasks, collectors=collectors, **options):
        pass
    return time.perf_counter() - start


def _training_episodes(policy: Policy | Prompter) -> int | None:
    record = policy.card.training if isinstance(policy, StoredPolicy) else None
    return record.episodes if record else 0 if policy.training_seed < 0 else None


def draw_examples(traces: Sequence[SteeringTrace], policy: str, n: int, options: dict[str, Any]) -> list[Figure]:
    """Strips of episodes, see :func:`spread`, so that a reader sees the bad ones too."""
    return [_strip(trace, options) for trace in spread([t for t in traces if t.policy == policy], n)]


def spread(traces: Sequence[SteeringTrace], n: int) -> list[SteeringTrace]:
    """At most n traces, evenly spread over how much they improved, the best first."""
    ranked = sorted(traces, key=lambda trace: -trace.improvement)
    return [ranked[round(i * (len(ranked) - 1) / max(1, n - 1))] for i in range(min(n, len(ranked)))]


def _strip(trace: SteeringTrace, options: dict[str, Any]) -> Figure:
    played = {k: v for k, v in options.items() if k not in ("suite", "rounds", "judges")}
    similarity = f"{trace.similarities[0]:.2f} → {trace.similarities[-1]:.2f}"
    title = f"task {trace.task_index}, {trace.policy}, similarity {similarity}"
    title += f"\ngoal: {trace.goal_prompt}\nuser: {' → '.join(trace.prompts or [trace.prompt])}"
    return plots.strip(replay(trace, **played), title)
