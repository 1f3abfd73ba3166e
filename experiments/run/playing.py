"""Playing policies on a suite, for every experiment that does so: resumable, with pictures of some episodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from steer_env.envs import ImageSteeringVectorEnv, SteeringVectorEnv
from steer_env.evaluation import plots
from steer_env.evaluation.leaderboard import Entry
from steer_env.evaluation.rollout import make_env, make_text_env, replay
from steer_env.evaluation.suites import evaluate, play_missing
from steer_env.policies import Policy
from steer_env.policies.stored import StoredPolicy
from steer_env.traces import SteeringTrace
from steer_env.types import Prompter


def check_tasks(tasks: int, **options: Any) -> ImageSteeringVectorEnv:
    """Before any work: the environment, if its parts exist and its suite has that many tasks; else a ValueError."""
    env = make_env(1, **options)
    if options.get("choose"):
        make_text_env(1, **options)
    _check_size(tasks, env)
    return env


def check_players(policies: Sequence[Policy | Prompter], tasks: int, **options: Any) -> None:
    """The same for these policies: where all of them write prompts, the generator need not take latents."""
    if all(isinstance(policy, Prompter) for policy in policies):
        _check_size(tasks, make_text_env(1, **options))
    else:
        check_tasks(tasks, **options)


def _check_size(tasks: int, env: SteeringVectorEnv) -> None:
    if not 2 <= tasks <= len(env.suite):
        raise ValueError(f"tasks must be 2 to {len(env.suite)}, the size of {env.suite.name}, got {tasks}")


def play_suite(
    policies: Sequence[Policy | Prompter], tasks: int, tasks_per_batch: int, folder: Path, **options: Any
) -> list[SteeringTrace]:
    """All traces of :func:`steer_env.evaluation.suites.play_missing`."""
    return [trace for traces in play_missing(policies, tasks, tasks_per_batch, folder, **options) for trace in traces]


def time_policies(policies: Sequence[Policy | Prompter], tasks: int, **options: Any) -> dict[str, Entry]:
    """Play one policy of each name alone on the first tasks, all at a time: its leaderboard entry, by name."""

    def seconds(policy: Policy | Prompter) -> float:
        start = time.perf_counter()
        list(evaluate([policy], tasks, tasks, **options))
        return time.perf_counter() - start

    seconds(policies[0])  # Not counted: models may still have to be loaded.
    first = {policy.name: policy for policy in reversed(policies)}
    return {name: Entry(_training_episodes(policy), seconds(policy) / tasks) for name, policy in first.items()}


def _training_episodes(policy: Policy | Prompter) -> int | None:
    record = policy.card.training if isinstance(policy, StoredPolicy) else None
    return record.episodes if record else 0 if policy.training_seed < 0 else None


def draw_examples(traces: Sequence[SteeringTrace], policy: str, n: int, options: dict[str, Any]) -> list[Figure]:
    """Strips of episodes, see :func:`spread`, so that a reader sees the bad ones too."""
    played = {k: v for k, v in options.items() if k not in ("suite", "rounds", "judges")}
    figures = []
    for trace in spread([t for t in traces if t.policy == policy], n):
        ends = f"{trace.similarities[0]:.2f} → {trace.similarities[-1]:.2f}"
        title = f"task {trace.task_index}, {policy}, similarity {ends}"
        title += f"\ngoal: {trace.goal_prompt}\nuser: {' → '.join(trace.prompts or [trace.prompt])}"
        figures.append(plots.strip(replay(trace, **played), title))
    return figures


def spread(traces: Sequence[SteeringTrace], n: int) -> list[SteeringTrace]:
    """At most n traces, evenly spread over how much they improved, the best first."""
    ranked = sorted(traces, key=lambda trace: -trace.improvement)
    return [ranked[round(i * (len(ranked) - 1) / max(1, n - 1))] for i in range(min(n, len(ranked)))]
