"""Equation 5 between generators: ``python -m experiments.decompose folder=outputs/terms evaluations=[a,b]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conf import schema
from experiments.goal_features import embed_episodes, name_generator, principal
from experiments.runs import application, check_run, close_run, open_run, publish
from steer_env.evaluation.decomposition import Episodes, Term, decompose
from steer_env.evaluation.plots import explained_variance
from steer_env.evaluation.predictors import compare_predictors, one_hot
from steer_env.evaluation.reports import Report, Section
from steer_env.traces import read_traces

schema.register()


@application("decompose")
def main(config: Any) -> None:
    """Compare the first evaluation's generator with each of the others."""
    check_run(config)
    folders = [Path(folder) for folder in config.evaluations]
    runs = [read_traces(folder / "traces") for folder in folders]
    for part in ("suite", "mechanism", "human", "metric", "policy"):
        found = sorted({getattr(trace, part) for run in runs for trace in run})
        if len(found) > 1:
            raise ValueError(f"generators need the same {part} in all evaluations, found: {', '.join(found)}")
    names = [name_generator(folder, run) for folder, run in zip(folders, runs, strict=True)]
    model = np.repeat(names, [len(run) for run in runs])
    hot = one_hot(model.tolist())
    goals, prompts = map(np.concatenate, zip(*map(embed_episodes, folders, runs), strict=True))
    traces = [trace for run in runs for trace in run]
    rewards = np.array([trace.improvement for trace in traces])
    tasks = np.array([trace.task_index for trace in traces])
    inputs = {"model": hot, "+ prompt": prompts, "+ goal image": goals}
    fits = compare_predictors(rewards, tasks, inputs, config.folds)
    reduced = principal(np.concatenate([goals, prompts], axis=1), config.components)
    parts = {name: Episodes(reduced[model == name], rewards[model == name], tasks[model == name]) for name in names}
    found_terms = {name: decompose(parts[names[0]], parts[name], seed=config.seed) for name in names[1:]}
    predicted = pd.DataFrame([(n, f"{f.r2:.3f} ({f.error:.3f})") for n, f in fits.items()], columns=["inputs", "R²"])
    columns = ["generator", "mechanism", "producible set", "sum", "direct difference"]
    rows = [
        (name, *map(_term, (f.mechanism, f.producible, f.total)), f"{f.direct:+.4f}") for name, f in found_terms.items()
    ]
    report = Report(
        "Steering mechanism or producible set",
        f"Improvements compared with {names[0]}, on {len(set(tasks))} tasks.",
        [
            Section("Predictors", "R² by task.", [predicted], [explained_variance(fits)]),
            Section("Equation 5", "95 % bootstrap intervals over tasks.", [pd.DataFrame(rows, columns=columns)]),
        ],
    )
    folder = open_run(config)
    publish(report, folder)
    close_run(folder, {"evaluations": list(config.evaluations)})


def _term(term: Term) -> str:
    return f"{term.value:+.4f} [{term.low:+.4f}, {term.high:+.4f}]"


if __name__ == "__main__":
    main()
