"""A writer of prompts as people are: ``python -m experiments.fit_prompter path=Steerability``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.run import REQUIRED, EnvOptions, PlayOptions, Run, command, option
from experiments.run.parts import env_options
from experiments.run.released.files import load_study
from experiments.run.released.sessions import MAIN_SUITE, study_traces
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.statistics import people_or_tasks
from steer_env.evaluation.uncertainty import UNKNOWN, Estimate, clustered_covariance, clustered_estimate, share_of
from steer_env.humans.options import PersonOptions
from steer_env.traces import SteeringTrace
from steer_env.types import Task

if TYPE_CHECKING:
    from steer_env.tiles.prompters import PersonPrompter

MORE, RIGHT = (0.6, 1.0, 1.5, 2.2), (0.4, 0.65, 0.9)
"""Where prompters play: how much of the goal is named, as a multiple of what people's words say, and how much of what
is named is right."""

RATES = ("named", "right", "lost", "taken_back")
"""Of :class:`steer_env.humans.options.PersonOptions`."""


@dataclass
class FitPrompterOptions(PlayOptions):
    """Fit a simulated writer of prompts, text:person, to the text sessions of the released study.

    How many words of the goal's prompt people recover and lose from attempt to attempt says how a rewrite changes the
    factors that a prompt names. How much of what is new is named, and how much of that is right, is fitted to how often
    each attempt beats the first. The user who chooses images has no part in it.

    Args:
        path: as for experiments.study.
        tasks: of env.suite, that each of a grid of prompters plays; the fitted one plays as many others.
    """

    path: str = REQUIRED
    tasks: int = option(320, least=20)
    env: EnvOptions = field(default_factory=lambda: EnvOptions(suite="tiles-val-v1"))


@command(FitPrompterOptions)
def main(options: FitPrompterOptions, run: Run) -> dict[str, Any]:
    """Read the release, play a grid of prompters, fit, play the fitted one on other tasks, and report."""
    from experiments.run.playing import check_tasks

    traces = study_traces(load_study(Path(options.path).expanduser()))
    people = [trace for trace in traces if trace.suite == MAIN_SUITE and trace.policy == "person"]
    attempts = {len(trace.prompts) for trace in people}
    if attempts != {options.env.rounds + 1}:
        raise ValueError(f"people made {sorted(attempts)} attempts: env.rounds can't be {options.env.rounds}")
    env = env_options(options)
    suite = check_tasks(2 * options.tasks, **env).suite
    run.open()
    words, curve = word_rates(people), beats_first(people)
    rates = as_measured(words, suite[: options.tasks])
    fitted = fit(rates, curve, options, env)
    prompters = {"as measured": prompter(rates, 1.0, rates["right"]), "fitted": prompter(rates, *fitted.values)}
    played = play(list(prompters.values()), range(options.tasks, 2 * options.tasks), options.tasks_per_batch, env)
    curves = {name: beats_first(own) for name, own in zip(prompters, played, strict=True)}
    run.publish(prompter_report(words, curve, curves, fitted, prompters))
    record = {name: {rate: getattr(each, rate) for rate in RATES} for name, each in prompters.items()}
    return {"sessions": len(people), "prompters": record, "chi2": fitted.chi2, "intervals": fitted.intervals}


def words_in(text: str) -> set[str]:
    """Its words, in lower case.

    >>> sorted(words_in("A red, RED star's tip"))
    ['a', 'red', "star's", 'tip']
    """
    return set(re.findall(r"[a-z']+", text.lower()))


def word_rates(traces: Sequence[SteeringTrace]) -> pd.DataFrame:
    """How people's prompts change, by rewrite: index 1 to R; each cell an Estimate, with errors clustered by person.

    ``recovered`` and ``lost`` are words of the goal's prompt that come in and go, over those of the first prompt;
    ``in goal``, the share of new words that the goal's prompt has; ``goal words dropped`` and ``other words dropped``,
    over those in the prompt before; ``again``, prompts with the same words as the one before. Index 0 has the first
    prompt's ``in goal``, and ``recall``, the share of the goal's words that a prompt has.
    """
    rows = []
    for trace in traces:
        goal, prompts = words_in(trace.goal_prompt), [words_in(prompt) for prompt in trace.prompts]
        before: set[str] = set()
        for attempt, prompt in enumerate(prompts):
            new, gone = prompt - before, before - prompt
            counts = (len(new & goal), len(gone & goal), len(new), len(before & goal), len(gone - goal))
            totals = (len(before - goal), len(prompts[0] & goal), len(prompt & goal), len(goal), prompt == before)
            rows.append((trace.human, attempt, *counts, *totals))
            before = prompt
    counted = ["recovered", "lost", "new", "held", "dropped"]
    frame = pd.DataFrame(rows, columns=["person", "attempt", *counted, "others", "first", "has", "goal", "again"])
    table = {}
    for place, part in frame.groupby("attempt"):
        pairs = {"recall": ("has", "goal"), "in goal": ("recovered", "new")}
        if place:
            pairs |= {"recovered": ("recovered", "first"), "lost": ("lost", "first")}
            pairs |= {"goal words dropped": ("lost", "held"), "other words dropped": ("dropped", "others")}
        table[place] = {name: _ratio(part, *pair) for name, pair in pairs.items()}
        table[place]["again"] = _ratio(part.assign(one=1), "again", "one")
    return pd.DataFrame.from_dict(table, orient="index")


def _ratio(part: pd.DataFrame, counted: str, whole: str) -> Estimate:
    if not part[whole].any():
        return Estimate(nan, nan, len(part), 0)
    share, influence = share_of(part[counted].to_numpy(float), part[whole].to_numpy(float))
    return replace(clustered_estimate(influence, part["person"]), value=share)


@dataclass(frozen=True)
class Curve:
    """What becomes of attempts, over sessions of people or over tasks.

    Args:
        shares: float (R,), how often attempt 2 to R + 1 beats the first.
        covariance: float (R, R) of the shares, clustered by person, or over tasks.
        gains: R, mean similarity minus that of the first attempt.
        deviation: of the last gain, over sessions: the unit in which gains of two domains can be compared.
    """

    shares: np.ndarray
    covariance: np.ndarray
    gains: list[Estimate]
    deviation: float

    def estimates(self) -> list[Estimate]:
        """The shares with their errors."""
        errors = np.sqrt(np.diag(self.covariance))
        return [
            Estimate(float(share), float(error), own.episodes, own.freedom)
            for share, error, own in zip(self.shares, errors, self.gains, strict=True)
        ]


def beats_first(traces: Sequence[SteeringTrace]) -> Curve:
    """The curve of attempts; people are units, and where they are simulated, tasks."""
    similarities = np.array([trace.similarities for trace in traces])
    units = people_or_tasks(traces)
    gains = similarities[:, 1:] - similarities[:, :1]
    won = (gains > 0).astype(float)
    estimates = [clustered_estimate(column, units) for column in gains.T]
    covariance = clustered_covariance(won - won.mean(axis=0), units)
    return Curve(won.mean(axis=0), covariance, estimates, float(gains[:, -1].std()))


def as_measured(words: pd.DataFrame, tasks: Sequence[Task]) -> dict[str, Any]:
    """Rates of factors from people's rates of words, both relative to what the first prompt names.

    Few of people's words are literally in the goal's prompt, so shares of words can't be shares of factors. What
    carries over is growth: words of the goal recovered in a rewrite over those that the first prompt had; and how much
    more seldom a new word is in the goal's prompt than a word of the first one.
    """
    from steer_env.tiles import tilings

    pairs = [(tilings.parse(task.prompt), tilings.parse(task.goal_prompt)) for task in tasks]
    user, goal = (np.stack(factors) for factors in zip(*pairs, strict=True))
    named, correct = (user != tilings.UNNAMED).sum(), ((user == goal) & (user != tilings.UNNAMED)).sum()
    first, later = words.loc[0], words.drop(index=0)
    new = np.nanmean([share.value for share in later["in goal"]])
    right = min(1.0, float(new / first["in goal"].value * correct / named))
    lost = float(np.nanmean([share.value for share in later["goal words dropped"]]))
    back = float(np.nanmean([share.value for share in later["other words dropped"]]))
    held, open_factors, wrong = correct / len(tasks), (user.size - named) / len(tasks), (named - correct) / len(tasks)
    naming, known = [], held
    for growth in later["recovered"]:
        rate = growth.value * known / (open_factors * right)
        naming.append(float(min(1.0, rate)))
        came = open_factors * naming[-1]
        open_factors += held * lost + wrong * back - came
        held, wrong = held * (1 - lost) + came * right, wrong * (1 - back) + came * (1 - right)
    return {"named": naming, "right": right, "lost": lost, "taken_back": back}


def prompter(rates: Mapping[str, Any], more: float, right: float) -> PersonPrompter:
    """Names ``more`` times as much as people's words say, a share ``right`` of it rightly."""
    from steer_env.tiles.prompters import PersonPrompter

    # What is named is new information only as far as it is right: the same growth with another share of it.
    named = [min(1.0, more * rate * rates["right"] / right) for rate in rates["named"]]
    return PersonPrompter(PersonOptions(named, right, rates["lost"], rates["taken_back"]))


def play(
    prompters: Sequence[PersonPrompter], tasks: range, tasks_per_batch: int, env: Mapping[str, Any]
) -> list[list[SteeringTrace]]:
    """Traces of each prompter on the same tasks with the same noise."""
    from steer_env.evaluation.suites import evaluate

    batches = evaluate(prompters, tasks.stop, tasks_per_batch, tasks.start, **env)
    parts = [np.array_split(np.array(batch, dtype=object), len(prompters)) for batch in batches]
    return [[trace for part in own for trace in part] for own in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Fitted:
    """The best values of ``more`` and ``right``, and where χ² is at most 1 above its least, within the grid.

    ``chi2`` and ``freedom`` are by prompter: fitted, and as measured.
    """

    values: tuple[float, float]
    intervals: dict[str, tuple[float, float]]
    chi2: dict[str, float]
    freedom: dict[str, int]


def fit(rates: Mapping[str, Any], people: Curve, options: FitPrompterOptions, env: Mapping[str, Any]) -> Fitted:
    """Least squares of the shares that beat the first attempt, weighted by people's and the simulation's covariance."""
    grid = list(product(MORE, RIGHT))
    played = play([prompter(rates, *point) for point in grid], range(options.tasks), options.tasks_per_batch, env)
    curves = [beats_first(own) for own in played]
    shares = np.array([curve.shares for curve in curves])
    weights = np.linalg.inv(people.covariance + np.mean([curve.covariance for curve in curves], axis=0))
    # A smooth surface over the grid: neighbours share what chance did to each.
    surface = np.linalg.lstsq(_terms(np.array(grid)), shares, rcond=None)[0]

    def chi2(points: np.ndarray) -> np.ndarray:
        missed = _terms(points) @ surface - people.shares
        return np.asarray((missed @ weights * missed).sum(axis=1))

    axes = [np.linspace(values[0], values[-1], 161) for values in (MORE, RIGHT)]
    points = np.array(list(product(*axes)))
    misfit = chi2(points)
    near = points[misfit <= misfit.min() + 1]
    low, high, (more, right) = near.min(axis=0), near.max(axis=0), points[misfit.argmin()].tolist()
    measured, degrees = float(chi2(np.array([[1.0, rates["right"]]]))[0]), len(people.shares)
    return Fitted(
        (more, right),
        {name: (float(low[i]), float(high[i])) for i, name in enumerate(("more", "right"))},
        {"as measured": measured, "fitted": float(misfit.min())},
        {"as measured": degrees, "fitted": degrees - 2},
    )


def _terms(points: np.ndarray) -> np.ndarray:
    """Of a quadratic surface, float (n, 6), in the logarithm of the first and in the second."""
    x, y = np.log(points[:, 0]), points[:, 1]
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def prompter_report(
    words: pd.DataFrame,
    people: Curve,
    curves: Mapping[str, Curve],
    fitted: Fitted,
    prompters: Mapping[str, PersonPrompter],
) -> Report:
    """Rates of words, the fit, and what the prompters reproduce."""
    from scipy import stats

    shown = words.rename_axis("rewrite").reset_index()
    shown = shown.map(lambda cell: f"{cell:.3f}" if isinstance(cell, Estimate) else UNKNOWN if pd.isna(cell) else cell)
    fits = pd.DataFrame(
        {
            "prompter": name,
            "named": ", ".join(f"{rate:.3f}" for rate in each.rates.named),
            **{rate: f"{getattr(each.rates, rate):.3f}" for rate in RATES[1:]},
            "χ² (degrees of freedom)": f"{fitted.chi2[name]:.1f} ({fitted.freedom[name]})",
            "p": f"{stats.chi2.sf(fitted.chi2[name], fitted.freedom[name]):.2g}",
        }
        for name, each in prompters.items()
    )
    rows = []
    for name, curve in {"people": people, **curves}.items():
        for measure, cells in {
            "share that beats the first": [f"{share:.1%}" for share in curve.estimates()],
            "gain over the first": [f"{gain:.4f}" for gain in curve.gains],
            "gain, in deviations of the last": [f"{gain.value / curve.deviation:.2f}" for gain in curve.gains],
            "gain, as a share of the last": [f"{gain.value / curve.gains[-1].value:.2f}" for gain in curve.gains],
        }.items():
            rows.append([name, measure, *cells])
    compared = pd.DataFrame(rows, columns=["who", "measure", *(f"attempt {i + 2}" for i in range(len(people.shares)))])
    bounds = "; ".join(f"{name} [{low:.2f}, {high:.2f}]" for name, (low, high) in fitted.intervals.items())
    return Report(
        "A writer of prompts, fitted to people",
        f"{people.gains[0].episodes} text sessions of {int(people.gains[0].freedom) + 1} people of the released study, "
        f"errors clustered by person; prompters on {curves['fitted'].gains[0].episodes} tasks that none was fitted on.",
        [
            Section("How people's prompts change", "Words, by rewrite; 0 is the first prompt.", [shown]),
            Section(
                "Rates of factors",
                "χ² of the shares of sessions in which each attempt beats the first. Brackets: where it is at most 1 "
                f"above its least: {bounds}; more is a multiple of the goal's words that people recover.",
                [fits],
            ),
            Section("What is reproduced", "", [compared]),
        ],
    )


if __name__ == "__main__":
    main()
