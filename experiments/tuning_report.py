"""What a tuning found: its trials as a page, and the best one as an agent's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from experiments.search_space import with_values
from experiments.trials import Trials, improvements
from steer_env.evaluation.reports import Report, Section, number
from steer_env.evaluation.statistics import estimate
from steer_env.files import write_atomically


def tuning_report(trials: Trials, config: Any) -> Report:
    """The trials, best first; what the best gains over the agent's own values; improvement by each option."""
    finished, best = trials.finished, trials.best
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    gain = estimate((improvements(best) - improvements(finished[0]))[None])
    lead = (
        f"{len(finished)} settings of {config.agent.name}, each trained for {config.episodes} episodes of "
        f"{config.env.suite} with seed {config.seed}, and then played on the same {config.tasks} tasks of "
        f"{config.suite}; pruner {config.pruner}. Standard errors over tasks in parentheses."
    )
    sections = [
        Section("Trials", "Trial 0 has the agent's own values.", [_table(finished)]),
        Section(
            f"Trial {best.number} against the agent's own values",
            "On the same tasks. The best of several is flattered by its luck with these tasks and with its one "
            "training: train it with several seeds and evaluate it on test tasks before believing the difference.",
            [pd.DataFrame([("trial 0", number(gain))], columns=["minus", "difference"])],
        ),
        Section("Improvement by option", "Complete trials, with one standard error.", figures=[_figure(complete)]),
    ]
    return Report(f"Tuning {config.agent.name}", lead, sections)


def write_best(trials: Trials, config: Any, folder: Path) -> Path:
    """The best trial's agent as ``agent/tuned.yaml``, for ``hydra.searchpath=[file://FOLDER] agent=tuned``."""
    best, agent = trials.best, with_values(config, trials.best.params).agent
    schema = "sb3_schema" if "algorithm" in agent else f"{agent.kind}_schema"
    found = estimate(improvements(best)[None])
    path = folder / "agent" / "tuned.yaml"
    trained = f"{len(trials.finished)} settings that experiments.tune tried, with {config.episodes} episodes each"
    write_atomically(
        path,
        f"# The best of {trained}:\n# improvement {number(found)} on {config.tasks} tasks of {config.suite}.\n"
        f"defaults:\n  - {schema}\n  - _self_\n\n{OmegaConf.to_yaml(agent)}",
    )
    return path


def _table(finished: Sequence[FrozenTrial]) -> pd.DataFrame:
    def rank(trial: FrozenTrial) -> tuple[bool, float]:
        return trial.state != TrialState.COMPLETE, -(trial.value or 0)

    rows = []
    for trial in sorted(finished, key=rank):
        complete = trial.state == TrialState.COMPLETE
        shown = number(estimate(improvements(trial)[None])) if complete else trial.state.name.lower()
        values = {option.removeprefix("settings."): _shown(value) for option, value in trial.params.items()}
        rows.append({"trial": trial.number, "improvement": shown, **values})
    return pd.DataFrame(rows)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _figure(complete: Sequence[FrozenTrial]) -> Figure:
    """Improvement against each option's value, a panel each."""
    options = complete[0].distributions
    figure = Figure(figsize=(2.6 * len(options) + 0.8, 3.2), layout="constrained")
    panels = figure.subplots(1, len(options), sharey=True, squeeze=False)[0]
    found = [estimate(improvements(trial)[None]) for trial in complete]
    for axes, (option, distribution) in zip(panels, options.items(), strict=True):
        categorical = isinstance(distribution, CategoricalDistribution)
        values = [str(trial.params[option]) if categorical else trial.params[option] for trial in complete]
        style: dict[str, Any] = {"fmt": "o", "ms": 4, "capsize": 2}
        axes.errorbar(values, [each.mean for each in found], [each.error for each in found], **style)
        if getattr(distribution, "log", False):
            axes.set_xscale("log")
        axes.set_xlabel(option.removeprefix("settings."))
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("improvement")
    return figure
