"""Compare steering mechanisms: ``python -m experiments.mechanisms folder=outputs/mechanisms``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from agents.files import write_json
from experiments.run import PlayOptions, Run, command, option
from experiments.run.folder import slug
from experiments.run.parts import env_options
from steer_env.evaluation import plots, statistics
from steer_env.evaluation.reports import Report, Section, count
from steer_env.evaluation.statistics import cost
from steer_env.evaluation.uncertainty import UNKNOWN, Interval, estimate, ratio
from steer_env.humans import load_human
from steer_env.mechanisms import load_mechanism
from steer_env.metrics import load_metric
from steer_env.policies import Policy
from steer_env.policies.names import load_policy
from steer_env.registry import parse_spec
from steer_env.traces import SteeringTrace, traces_to_frame
from steer_env.types import Prompter

if TYPE_CHECKING:
    from steer_env.envs import ImageSteeringVectorEnv

Pair = tuple[str, str]
"""User, mechanism."""


@dataclass
class MechanismsOptions(PlayOptions):
    """Compare steering mechanisms on the same tasks: what each gains, for several users, at how many images.

    Args:
        mechanisms: as the option mechanism has them, such as 'bayesian:pool=192' or
            'bayesian:metric=pixel-correlation'. The others are compared with the first.
        users: simulated users as the option human has them, such as 'softmax:temperature=0.05'.
        policy: which mixture scales are played, for mechanisms that heed them: a built-in policy or a folder.
    """

    mechanisms: list[str] = option(["mixture", "bayesian", "bayesian:metric=pixel-correlation"], length=1, unique=True)
    users: list[str] = option(["greedy", "softmax:temperature=0.05"], length=1, unique=True)
    policy: str = "schedule:1.0-1.0-0.8-0.6"


@command(MechanismsOptions)
def main(options: MechanismsOptions, run: Run) -> dict[str, Any]:
    """Play one policy with every mechanism and every user, and leave the tables and ``mechanisms.json``."""
    from experiments.run.playing import check_tasks

    policy = load_policy(options.policy)
    if isinstance(policy, Prompter):
        raise ValueError(f"policy must choose mixture scales, such as a schedule, not {options.policy}")
    env = check_tasks(options.tasks, **env_options(options))
    pairs, dynamics = pair_arguments(options, env), env.dynamics
    played = play_pairs(pairs, policy, options.tasks, options.tasks_per_batch, run.open())
    lead = (
        f"Policy “{policy.name}” on {options.tasks} tasks of {env.suite.name}: {options.env.rounds} rounds of "
        f"{options.env.proposals} proposals, generator {dynamics.generator.id}, metric {dynamics.metric.id}; "
        "the same goals, first images and noise for all. Standard errors in parentheses, over tasks."
    )
    measured = measure(played)
    write_json({"tasks": options.tasks, "rows": measured}, run.folder / "mechanisms.json")
    run.publish(mechanisms_report(played, measured, lead), wide=True)
    return {"tasks": options.tasks, "mechanisms": options.mechanisms, "users": options.users}


def pair_arguments(options: MechanismsOptions, env: ImageSteeringVectorEnv) -> dict[Pair, dict[str, Any]]:
    """Of the environment of each pair; mechanisms that want pools of images for the same episodes share them."""
    from steer_env.mechanisms.hypotheses import Hypotheses

    studio = env.dynamics.studio
    own = [parse_spec(spec)[1].get("metric") for spec in options.mechanisms]
    compares = [studio.metric, *(load_metric(spec) for spec in own if spec)]
    shared = Hypotheses(studio, compares, kept=options.tasks_per_batch * len(options.mechanisms))

    def arguments(user: str, spec: str) -> dict[str, Any]:
        mechanism = load_mechanism(spec, studio, hypotheses=shared)
        return env_options(options, human=load_human(user), mechanism=mechanism)

    return {(user, spec): arguments(user, spec) for user in options.users for spec in options.mechanisms}


def play_pairs(
    pairs: Mapping[Pair, Mapping[str, Any]], policy: Policy, tasks: int, tasks_per_batch: int, folder: Path
) -> dict[Pair, list[SteeringTrace]]:
    """Play the first tasks with every pair, or go on where an earlier call in this folder stopped."""
    from itertools import zip_longest

    from rich.progress import track

    from steer_env.evaluation.suites import play_missing

    def playing(user: str, mechanism: str) -> Iterator[list[SteeringTrace]]:
        place = folder / "traces" / slug(user) / slug(mechanism)
        return play_missing([policy], tasks, tasks_per_batch, place, quiet=True, **pairs[user, mechanism])

    played: dict[Pair, list[SteeringTrace]] = {pair: [] for pair in pairs}
    # Batch by batch, as pools of images are kept for no longer.
    batches = zip_longest(*(playing(*pair) for pair in pairs), fillvalue=[])
    for batch in track(batches, f"{len(pairs)} pairs of user and mechanism", total=-(-tasks // tasks_per_batch)):
        for pair, traces in zip(pairs, batch, strict=True):
            played[pair] += traces
    return played


def measure(played: Mapping[Pair, Sequence[SteeringTrace]]) -> list[dict[str, Any]]:
    """What each pair gains, and at what cost, as ``mechanisms.json`` holds it.

    Returns:
        One row a pair: ``user``, ``mechanism``, ``episodes``; ``gain``, mean improvement, and its ``error``;
        ``relative``, how much more than the first mechanism gains with that user, as a share, with its 95 % interval
        ``low`` to ``high``, None for the first or where the first gains nothing; ``images`` and ``passes`` an episode,
        None where they weren't counted.
    """
    rows: list[dict[str, Any]] = []
    base: dict[str, np.ndarray] = {}
    for (user, mechanism), traces in played.items():
        gains, made = _gains(traces), cost(traces_to_frame(traces)).iloc[0]
        base.setdefault(user, gains)
        row: dict[str, Any] = {"user": user, "mechanism": mechanism, "episodes": len(gains)}
        row |= {"gain": float(gains.mean()), "error": estimate(gains).error}
        row |= dict.fromkeys(("relative", "low", "high"))
        if gains is not base[user] and base[user].mean() > 0:
            more = _more(gains, base[user])
            row |= {"relative": more.value, "low": more.low, "high": more.high}
        rows.append(row | {name: None if np.isnan(made[name]) else float(made[name]) for name in ("images", "passes")})
    return rows


def mechanisms_report(
    played: Mapping[Pair, Sequence[SteeringTrace]], measured: Sequence[Mapping[str, Any]], lead: str
) -> Report:
    """A table for each kind of user, the other mechanisms compared with the first; and gain against cost."""
    by_user: dict[str, dict[str, Sequence[SteeringTrace]]] = {}
    for (user, mechanism), traces in played.items():
        by_user.setdefault(user, {})[mechanism] = traces
    sections = [_section(user, traces) for user, traces in by_user.items()]
    if any(row["passes"] for row in measured):
        text = "Average change with its standard error, against denoiser passes an episode. Lines join the mechanisms "
        text += "that no other one beats at their price or below."
        figures = [frontier([row for row in measured if row["user"] == user], f"user: {user}") for user in by_user]
        sections.append(Section("Gain against cost", text, figures=figures))
    return Report("Steering mechanisms", lead, sections)


def frontier(rows: Sequence[Mapping[str, Any]], title: str) -> plots.Figure:
    """Gain against denoiser passes of one user's rows of :func:`measure`, and the line of those not dominated."""
    figure, axes = plots.canvas(8, 4.5)
    known = sorted((row for row in rows if row["passes"]), key=lambda row: (row["passes"], -row["gain"]))
    for row in known:
        axes.errorbar(row["passes"], row["gain"], yerr=row["error"], marker="o", capsize=2, label=row["mechanism"])
    best = undominated(known)
    axes.plot([row["passes"] for row in best], [row["gain"] for row in best], color="0.6", zorder=0)
    axes.set(xscale="log", xlabel="denoiser passes an episode", ylabel="average change of similarity", title=title)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.legend(fontsize=7)
    return figure


def undominated(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows that gain more than all those at as many passes or fewer, by rising passes."""
    best: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["passes"], -row["gain"])):
        if not best or row["gain"] > best[-1]["gain"]:
            best.append(row)
    return best


def _section(user: str, played: Mapping[str, Sequence[SteeringTrace]]) -> Section:
    first, *_ = played
    base = _gains(played[first])
    rows = []
    for name, traces in played.items():
        gains, frame = _gains(traces), traces_to_frame(traces)
        judges, cost = statistics.judged_changes(frame), statistics.cost(frame).iloc[0].map(count)
        judged = [estimate(judges[column].to_numpy()) for column in judges]
        compared = (UNKNOWN,) * 3
        if name != first:
            difference = estimate(gains - base)
            more = f"{_more(gains, base):+.0%}" if base.mean() > 0 else UNKNOWN
            compared = (str(difference), f"{difference.p_value:.2g}", more)
        change = estimate(gains), f"{estimate(gains > 0):.1%}"
        rows.append((name, *cost, *change, *compared, *judged))
    columns = ["mechanism", *cost.index, "avg. change", "% improved", f"minus {first}", "p", "gain", *judges]
    text = "Images: made in an episode, goal and first image among them. Passes: of the denoiser, for these images and "
    text += f"for previews or predictions. Gain: how much more than {first}, with its 95 % interval."
    return Section(f"User: {user}", text, [pd.DataFrame(rows, columns=columns)])


def _gains(traces: Sequence[SteeringTrace]) -> np.ndarray:
    return np.array([trace.improvement for trace in sorted(traces, key=lambda trace: trace.task_index)])


def _more(gains: np.ndarray, base: np.ndarray) -> Interval:
    """The ratio of means less one, with its 95 % interval."""
    times = ratio(gains, base)
    return replace(times, value=times.value - 1).interval()


if __name__ == "__main__":
    main()
