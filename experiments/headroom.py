"""How much there is to gain: ``python -m experiments.headroom folder=outputs/headroom tasks=1000``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from agents.files import write_json
from experiments.run import PlayOptions, Run, command, option
from experiments.run.folder import slug
from experiments.run.parts import env_options
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import UNKNOWN, Estimate, estimate, ratio
from steer_env.files import reading, write_atomically
from steer_env.mechanisms import load_mechanism
from steer_env.policies import TablePolicy
from steer_env.policies.names import load_policy
from steer_env.tasks import load_suite
from steer_env.types import Prompter, Studio

if TYPE_CHECKING:
    from steer_env.dynamics import SteeringDynamics
    from steer_env.mechanisms.hypotheses import Hypotheses

Way = tuple[str, int, int]
"""Mechanism, rounds, proposals: a way to show as many images."""
_SHOWN = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 500)


@dataclass
class HeadroomOptions(PlayOptions):
    """Where zero, luck, the policies and the bounds are, on the same tasks.

    Luck is the best of n fresh images of the user's prompt, picked at once by someone who sees the goal. The bounds say
    what an episode's choices can carry: as many as (1 + K)^R outcomes.

    Args:
        fresh: images of the lottery, the bounds and the mechanisms' pools, for each task; at least 4.
        policies: mixture scales to play with the mixture; the last is stretched over other numbers of rounds.
        mechanisms: that infer the goal, played with env.rounds rounds of env.proposals.
        shapes: rounds x proposals that the mixture and the first of the mechanisms play, too.
    """

    fresh: int = option(500, least=4)
    policies: list[str] = option(["random-bucket", "published", "schedule:1.0-1.0-0.8-0.6"], length=1, unique=True)
    mechanisms: list[str] = option(["bayesian:pool=192,temperature=0.03", "learned"], length=1, unique=True)
    shapes: list[str] = option(["1x8", "2x4", "8x1"], unique=True)


@command(HeadroomOptions)
def main(options: HeadroomOptions, run: Run) -> dict[str, Any]:
    """Play everything on the same tasks; leave a table, a figure and headroom.json."""
    from experiments.run.playing import check_tasks
    from steer_env.mechanisms.hypotheses import Hypotheses

    env = check_tasks(options.tasks, **env_options(options, mechanism="mixture"))
    studio = env.dynamics.studio
    shared = Hypotheses(studio, [studio.metric], kept=options.tasks_per_batch)
    ways = make_ways(options, studio, shared)
    folder = run.open()
    drawn, gains = play(options, env.dynamics, ways, shared, folder / "traces")
    rows = table(drawn, gains, ways)
    record = [{name: _plain(value) for name, value in row.items()} for row in rows]
    write_json({"tasks": options.tasks, "suite": env.suite.name, "rows": record}, folder / "headroom.json")
    lead = (
        f"The first {options.tasks} tasks of {env.suite.name}, the same goals, first images and noise for all: user "
        f"{env.dynamics.human.id}, generator {env.dynamics.generator.id}, metric {env.dynamics.metric.id}. Gains are "
        "of similarity to the goal over the first image's, with standard errors over tasks in parentheses."
    )
    sections = [
        Section("What there is to gain", _READING, [_printed(rows)], [figure(drawn, rows)]),
        Section("Luck", _LUCK, [_luck(drawn)]),
    ]
    run.publish(Report("Headroom", lead, sections), wide=True)
    return {"tasks": options.tasks, "rows": record}


_READING = (
    "Of luck: the gain in units of that of as many fresh images, picked at once by someone who sees the goal. Of the "
    "pool: in units of the best image of the mechanism's pool. Leaves: the best of as many images as the choices of an "
    "episode have outcomes, chosen beforehand to be of most use for the goals that the user's prompt suggests. "
    "Information: what any code of as many bits reaches for those goals (Blahut and Arimoto); no mechanism gains more "
    "on them from the choices alone. Own goals: fresh images of the user's own prompt stand in for the goal."
)
_LUCK = "The best of n fresh images of the user's prompt over the first image; not below zero with “kept”."


def make_ways(options: HeadroomOptions, studio: Studio, shared: Hypotheses) -> dict[tuple[Way, str], dict[str, Any]]:
    """Arguments of the environment for each way and policy; refuses what isn't one."""
    last, own = options.policies[-1], (options.env.rounds, options.env.proposals)
    for spec in options.policies:
        if isinstance(load_policy(spec), Prompter):
            raise ValueError(f"policies must choose mixture scales, such as a schedule, not {spec}")
    chosen = [(("mixture", *own), policy) for policy in options.policies]
    chosen += [((mechanism, *own), last) for mechanism in options.mechanisms]
    for shape in options.shapes:
        chosen += [((mechanism, *_parsed(shape)), last) for mechanism in ("mixture", options.mechanisms[0])]

    def arguments(mechanism: str, rounds: int, proposals: int) -> dict[str, Any]:
        made = load_mechanism(mechanism, studio, hypotheses=shared)
        return env_options(options, mechanism=made) | {"rounds": rounds, "proposals": proposals, "judges": ()}

    return {(way, policy): arguments(*way) for way, policy in chosen}


def _parsed(shape: str) -> tuple[int, int]:
    parts = shape.split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"shapes are rounds x proposals such as 2x4, not {shape!r}")
    return int(parts[0]), int(parts[1])


def play(
    options: HeadroomOptions,
    dynamics: SteeringDynamics,
    ways: Mapping[tuple[Way, str], dict[str, Any]],
    shared: Hypotheses,
    folder: Path,
) -> tuple[dict[str, np.ndarray], dict[tuple[Way, str], np.ndarray]]:
    """Draw the lottery and play every way, batch by batch, or go on where an earlier call in this folder stopped.

    Returns:
        By name what :func:`draw` found, (T, …); and improvements float (T,) of each way.
    """
    from rich.progress import track

    from steer_env.evaluation.suites import play_missing

    size = (options.tasks, options.tasks_per_batch)
    played = {
        (way, policy): play_missing(
            [stretched(load_policy(policy), options.env.rounds, way[1])],
            *size,
            folder / slug("-".join([policy, *map(str, way)])),
            quiet=True,
            **arguments,
        )
        for (way, policy), arguments in ways.items()
    }
    lots = lottery(options, dynamics, shared, folder / "fresh")
    gains: dict[tuple[Way, str], list[float]] = {way: [] for way in ways}
    drawn: dict[str, list[np.ndarray]] = {}
    # Batch by batch, as pools of images are kept for no longer; the lottery first, whose pools are the largest.
    for lot in track(lots, "headroom", total=-(-options.tasks // options.tasks_per_batch)):
        for name, values in lot.items():
            drawn.setdefault(name, []).append(values)
        for way, playing in played.items():
            gains[way] += [trace.improvement for trace in next(playing, [])]
    return {k: np.concatenate(v) for k, v in drawn.items()}, {k: np.array(v) for k, v in gains.items()}


def stretched(policy: Any, rounds: int, others: int) -> Any:
    """The policy, or a schedule in the same course over another number of rounds."""
    if others == rounds or not isinstance(policy, TablePolicy):
        return policy
    places = [place * rounds // others for place in range(others)]
    return TablePolicy(policy.name, policy.scales[np.minimum(places, len(policy.scales) - 1)])


def lottery(
    options: HeadroomOptions, dynamics: SteeringDynamics, shared: Hypotheses, folder: Path
) -> Iterator[dict[str, np.ndarray]]:
    """What :func:`draw` finds of each batch of tasks, kept in a file of the folder."""
    for start in range(0, options.tasks, options.tasks_per_batch):
        path = folder / f"{start:08d}.npz"
        if not path.is_file():
            tasks = range(start, min(start + options.tasks_per_batch, options.tasks))
            outcomes = (1 + options.env.proposals) ** options.env.rounds
            drawn: dict[str, Any] = draw(dynamics, shared, options, tasks, outcomes)
            write_atomically(path, partial(np.savez, **drawn))
        with reading(path), np.load(path) as file:
            drawn = dict(file)
            if {len(values) for values in drawn.values()} != {min(options.tasks_per_batch, options.tasks - start)}:
                raise ValueError("it holds other tasks")
        yield drawn


def draw(
    dynamics: SteeringDynamics, shared: Hypotheses, options: HeadroomOptions, tasks: range, outcomes: int
) -> dict[str, np.ndarray]:
    """The lottery's images of some tasks, and the bounds.

    Returns:
        ``luck``, float (n, F), gains of the fresh images for the task's goal, in the order in which they are drawn;
        ``own`` (n, F/2), the expected gain of the best of so many for goals of the user's own prompt; ``leaves`` and
        ``leaves_own`` (n,), the best of the chosen images; ``bound`` (n,), by information.
    """
    import torch

    from steer_env.evaluation.suites import evaluation_seed

    suite, studio = load_suite(options.env.suite), dynamics.studio
    chosen = [suite[index] for index in tasks]
    pictures = [(task.goal_prompt, task.goal_seed) for task in chosen]
    pictures += [(task.prompt, task.initial_seed) for task in chosen]
    latents, conditioning = studio.prepare(pictures)
    made, _ = studio.picture(latents, conditioning, "goals and first images", metrics=[""], pictures=pictures)
    goals, firsts = made[""].chunk(2)
    own = {name: values[len(chosen) :] for name, values in conditioning.items()}
    seeds = [evaluation_seed(index) for index in tasks]
    with torch.inference_mode():
        _, embedded = shared.make(latents[: len(chosen)], seeds, options.fresh, own, np.arange(len(chosen)))
    rows = []
    for goal, first, images in zip(goals, firsts, embedded[studio.metric.id], strict=True):
        alike = studio.metric.similarity(images[:, None], torch.stack([goal, first])[None]).cpu().double().numpy()
        start = float(studio.metric.similarity(first, goal))
        goals_own, offered = images[0::2], images[1::2]
        pairs = studio.metric.similarity(goals_own[:, None], offered[None]).cpu().double().numpy()
        before = alike[0::2, 1]
        leaves = cover(pairs, outcomes)
        rows.append(
            {
                "luck": alike[:, 0] - start,
                "own": (np.maximum.accumulate(pairs, axis=1) - before[:, None]).mean(axis=0),
                "leaves": max(alike[1::2, 0][leaves].max() - start, 0.0),
                "leaves_own": float((pairs[:, leaves].max(axis=1) - before).clip(0).mean()),
                "bound": information_bound(np.column_stack([pairs, before]), np.log(outcomes)) - float(before.mean()),
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def cover(alike: np.ndarray, size: int) -> list[int]:
    """Which columns, one after the other, add most to the mean over rows of the largest entry: similarities (G, C)."""
    chosen: list[int] = []
    best = np.full(len(alike), -np.inf)
    for _ in range(min(size, alike.shape[1])):
        chosen.append(int(np.maximum(alike, best[:, None]).mean(axis=0).argmax()))
        best = np.maximum(best, alike[:, chosen[-1]])
    return chosen


def information_bound(alike: np.ndarray, nats: float, steps: int = 60) -> float:
    """Largest mean similarity of a code whose images tell so much about goals that are all equally likely.

    Args:
        alike: float (G, C), similarity of goals and images.
        nats: mutual information of goal and image.
        steps: of Blahut and Arimoto's iteration, for each slope tried.
    """
    low, high = 1.0, 1e4
    for _ in range(20):
        slope = float(np.sqrt(low * high))
        information, mean = _code(alike, slope, steps)
        low, high = (slope, high) if information < nats else (low, slope)
    return mean


def _code(alike: np.ndarray, slope: float, steps: int) -> tuple[float, float]:
    """Mutual information and mean similarity of the best code of a slope."""
    weights, marginal = np.exp(slope * (alike - alike.max(axis=1, keepdims=True))), np.full(alike.shape[1], 1.0)
    marginal /= marginal.sum()
    for _ in range(steps):
        posterior = weights * marginal
        posterior /= posterior.sum(axis=1, keepdims=True)
        marginal = posterior.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.where(posterior > 0, posterior * np.log(posterior / marginal), 0).sum(axis=1).mean()
    return float(information), float((posterior * alike).sum(axis=1).mean())


def table(
    drawn: Mapping[str, np.ndarray], gains: Mapping[tuple[Way, str], np.ndarray], ways: Mapping[Any, Any]
) -> list[dict[str, Any]]:
    """One row for each way and each bound: estimates, None where nothing is known."""
    best = np.maximum.accumulate(drawn["luck"], axis=1).clip(0)
    rows = []
    for (mechanism, rounds, proposals), policy in ways:
        values, shown = gains[(mechanism, rounds, proposals), policy], rounds * proposals
        pool = getattr(ways[(mechanism, rounds, proposals), policy]["mechanism"], "pool", 0)
        pooled = best[:, pool - 1] if mechanism.startswith("bayesian") and 0 < pool <= best.shape[1] else None
        shares = {"of luck": best[:, min(shown, best.shape[1]) - 1], "of pool": pooled}
        row: dict[str, Any] = {"name": policy if mechanism == "mixture" else mechanism, "gain": estimate(values)}
        row |= {name: None if of is None or of.mean() <= 0 else ratio(values, of) for name, of in shares.items()}
        rows.append(row | {"rounds": rounds, "proposals": proposals, "shown": shown})
    rows.append({"name": "leaves", "gain": estimate(drawn["leaves"]), "own_goals": estimate(drawn["leaves_own"])})
    rows.append({"name": "information", "gain": None, "own_goals": estimate(drawn["bound"])})
    return rows


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    return {"value": value.value, "error": value.error} if isinstance(value, Estimate) else value


def _printed(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    def cell(row: Mapping[str, Any], name: str, digits: str) -> str:
        return format(row[name], digits) if row.get(name) else UNKNOWN

    return pd.DataFrame(
        {
            "what": [row["name"] for row in rows],
            "rounds × proposals": [f"{r['rounds']} × {r['proposals']}" if "rounds" in r else UNKNOWN for r in rows],
            "gain": [cell(row, "gain", ".4f") for row in rows],
            "of luck": [cell(row, "of luck", ".2f") for row in rows],
            "of the pool": [cell(row, "of pool", ".2f") for row in rows],
            "own goals": [cell(row, "own_goals", ".4f") for row in rows],
        }
    )


def _luck(drawn: Mapping[str, np.ndarray]) -> pd.DataFrame:
    best, own = np.maximum.accumulate(drawn["luck"], axis=1), drawn["own"]
    numbers = [n for n in _SHOWN if n < best.shape[1]] + [best.shape[1]]
    return pd.DataFrame(
        {
            "n": numbers,
            "gain": [str(estimate(best[:, n - 1])) for n in numbers],
            "gain, or kept": [str(estimate(best[:, n - 1].clip(0))) for n in numbers],
            "own goals": [str(estimate(own[:, n - 1])) if n <= own.shape[1] else UNKNOWN for n in numbers],
        }
    )


def figure(drawn: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]]) -> plots.Figure:
    """Luck's curve over the number of images, with the policies, mechanisms and bounds beside it."""
    drawing, axes = plots.canvas(6.6, 4.2)
    best = np.maximum.accumulate(drawn["luck"], axis=1).clip(0)
    numbers = np.arange(1, best.shape[1] + 1)
    axes.plot(numbers, best.mean(axis=0), color="grey", label="luck: the best of n fresh images")
    steered = [row for row in rows if row.get("rounds") and row["shown"]]
    for i, row in enumerate(row for row in steered if row["rounds"] == steered[0]["rounds"]):
        style = {"color": plots.colour(i), "marker": "o", "capsize": 2, "ls": "none"}
        axes.errorbar(row["shown"], row["gain"].value, row["gain"].error, label=row["name"], **style)
    leaves, bound = rows[-2:]
    axes.axhline(leaves["gain"].value, color="black", ls="--", lw=0.8, label="the best leaf of all choices")
    axes.axhline(bound["own_goals"].value, color="black", ls=":", lw=0.8, label="bound by information, own goals")
    axes.axhline(0, color="black", lw=0.6)
    axes.set_xscale("log")
    plots.finish(axes, "images shown", "gain of similarity to the goal")
    axes.legend(fontsize="x-small")
    return drawing


if __name__ == "__main__":
    main()
