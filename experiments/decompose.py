"""Equation 5 between generators: ``python -m experiments.decompose folder=outputs/terms evaluations=[a,b]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conf import schema
from experiments.goal_features import Evaluated, principal, read_evaluations
from experiments.runs import application, check_run, close_run, open_run, publish
from steer_env.evaluation.decomposition import Decomposition, Episodes, decompose
from steer_env.evaluation.decomposition_report import decomposition_report
from steer_env.evaluation.predictors import compare_predictors, one_hot
from steer_env.evaluation.uncertainty import Estimate

schema.register()


@application("decompose")
def main(config: Any) -> None:
    """Compare the first evaluation's generator with each of the others."""
    check_run(config)
    evaluations = read_evaluations(config.evaluations)
    fits = _predictors(evaluations, config.folds)
    terms = _terms(evaluations, config.components, config.seed)
    baseline = evaluations[0].generator
    first = evaluations[0].traces[0]
    played = len({trace.task_index for one in evaluations for trace in one.traces})
    setting = f"{first.policy} on {played} tasks of {first.suite}, user {first.human}, metric {first.metric}."
    folder = open_run(config)
    publish(decomposition_report(fits, terms, baseline, setting), folder)
    close_run(folder, {"evaluations": list(config.evaluations)})


def _predictors(evaluations: Sequence[Evaluated], folds: int) -> dict[str, Estimate]:
    """R² of the mean, and with generator, prompt and goal image added one after the other."""
    generators = [trace.generator for one in evaluations for trace in one.traces]
    inputs = {
        "generator": one_hot(generators),
        "+ prompt": np.concatenate([one.prompts for one in evaluations]),
        "+ goal image": np.concatenate([one.goals for one in evaluations]),
    }
    rewards = np.concatenate([_rewards(one) for one in evaluations])
    return compare_predictors(rewards, np.concatenate([_tasks(one) for one in evaluations]), inputs, folds)


def _terms(evaluations: Sequence[Evaluated], components: int, seed: int) -> Mapping[str, Decomposition]:
    features = np.concatenate([np.concatenate([one.goals, one.prompts], axis=1) for one in evaluations])
    parts = np.split(principal(features, components), np.cumsum([len(one.traces) for one in evaluations])[:-1])
    first, *others = (Episodes(part, _rewards(one), _tasks(one)) for part, one in zip(parts, evaluations, strict=True))
    names = [one.generator for one in evaluations[1:]]
    return {name: decompose(first, other, seed=seed) for name, other in zip(names, others, strict=True)}


def _rewards(evaluated: Evaluated) -> np.ndarray:
    return np.array([trace.improvement for trace in evaluated.traces])


def _tasks(evaluated: Evaluated) -> np.ndarray:
    return np.array([trace.task_index for trace in evaluated.traces])


if __name__ == "__main__":
    main()
