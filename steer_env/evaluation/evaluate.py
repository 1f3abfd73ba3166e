"""Compare policies in a few lines of Python: ``steer_env.evaluate([policy, "best-known"], tasks=200)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from steer_env.evaluation import suites
from steer_env.evaluation.reports import Report, steering_report
from steer_env.limits import Limited, option
from steer_env.policies import Policy
from steer_env.policies.lists import load_policies
from steer_env.registry import Spec, checked_options
from steer_env.traces import SteeringTrace, traces_to_frame
from steer_env.types import Prompter

_PLAYERS = {"action", "observe", "named", "num_envs", "render_mode", "autoreset_mode", "max_episode_steps"}
"""Arguments of environments that aren't the caller's."""


@dataclass
class _Numbers(Limited):
    """Limits of the arguments of :func:`evaluate`."""

    tasks: int = option(200, least=2)
    tasks_per_batch: int = option(16, least=1)
    noise: int = option(0, least=0)
    threshold: float = option(0.8, least=-1, most=1)
    baseline: str = ""


@dataclass(frozen=True)
class Evaluation:
    """Policies and prompters on the same tasks, with the same first images and the same noise.

    Args:
        traces: one an episode.
        baseline: name of the policy that the others are compared with.
        threshold: similarity whose reaching is counted.
    """

    traces: Sequence[SteeringTrace]
    baseline: str
    threshold: float

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row an episode, see :func:`steer_env.traces.traces_to_frame`."""
        return traces_to_frame(self.traces)

    def table(self) -> pd.DataFrame:
        """One row a policy, as the report prints it: mean changes of similarity, standard errors in parentheses."""
        return self.report().sections[0].tables[0]

    def report(self) -> Report:
        """The page that ``experiments.evaluate`` leaves; ``.save(folder)`` writes it."""
        return steering_report(self.traces, self.baseline, self.threshold)


def evaluate(
    policies: Sequence[Spec[Policy] | Prompter | Path],
    tasks: int = 200,
    baseline: str = "",
    threshold: float = 0.8,
    tasks_per_batch: int = 16,
    noise: int = 0,
    suite: str = "tiles-test-v1",
    judges: Any = ("pixel-correlation",),
    **options: Any,
) -> Evaluation:
    """Play policies on the first tasks of a suite; what differs between them is the policies alone.

    Args:
        policies: policies and prompters of your own, or what :func:`steer_env.load_policy` takes.
        tasks: how many, at least 2.
        baseline: name of the policy that the others are compared with; the last one by default.
        threshold: similarity whose reaching is counted.
        tasks_per_batch: tasks played at a time; they bound the memory.
        noise: number of the noise; a different number gives different proposals on the same tasks.
        suite, judges: of the environment.
        **options: further arguments of the environment: generator, metric, human, mechanism, rounds, …

    Raises:
        ValueError: an unknown name, option or baseline, the same policy twice, or too few or too many tasks.
        PolicyError: a folder without a policy that can be played.
    """
    if not isinstance(policies, list | tuple) or not policies:
        raise ValueError(f"policies must be a list of at least one, got {policies!r:.60}")
    if own := sorted(_PLAYERS & options.keys()):
        raise ValueError(f"{own[0]} is settled by the policies and the evaluation: leave it out")
    given = {"tasks": tasks, "tasks_per_batch": tasks_per_batch, "noise": noise, "threshold": threshold}
    chosen = checked_options(_Numbers, given | {"baseline": baseline}, "evaluate")
    players = load_policies(policies, rounds=options.get("rounds", 4))
    names = [player.name for player in players]
    if baseline and baseline not in names:
        raise ValueError(f"the baseline {baseline!r} isn't among the policies evaluated: {', '.join(names)}")
    played = {"noise": chosen.noise, "suite": suite, "judges": judges, **options}
    batches = suites.evaluate(players, chosen.tasks, chosen.tasks_per_batch, **played)
    return Evaluation([trace for batch in batches for trace in batch], baseline or names[-1], chosen.threshold)
