"""Tune an agent's hyper-parameters: ``python -m experiments.tune agent=ppo folder=outputs/tuned trials=20``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from optuna.distributions import BaseDistribution
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("tuning needs a package that isn't here: pip install 'steer-env[tune]'") from error

from conf import schema
from experiments.learners import make_learner
from experiments.playing import check_tasks
from experiments.runs import application, check_run, close_run, env_options, open_run, publish, say
from experiments.search_space import read_space
from experiments.trials import PRUNERS, Trials
from experiments.tuning_report import tuning_report, write_best
from steer_env.tasks import load_suite

schema.register()


@application("tune")
def main(config: Any) -> None:
    """Play the trials that are missing, report, and leave the best setting as a configuration."""
    check_run(config)
    distributions = _check(config)
    folder = open_run(config)
    trials = Trials(config, distributions, folder)
    trials.run()
    publish(tuning_report(trials, config), folder, wide=True)
    path = write_best(trials, config, folder)
    best = trials.best
    close_run(folder, {"trials": len(trials.finished), "best": {"trial": best.number, **best.params}})
    say(f"wrote {path}: experiments.train 'hydra.searchpath=[file://{folder.resolve()}]' agent=tuned")


def _check(config: Any) -> Mapping[str, BaseDistribution]:
    """The search space; nothing has been worked on yet.

    Raises:
        ValueError: an option out of range or of a part that doesn't exist, or test tasks.
    """
    if config.trials < 1:
        raise ValueError(f"trials must be at least 1, got {config.trials}")
    PRUNERS[config.pruner]
    distributions = read_space(config.space, config.agent)
    if getattr(load_suite(config.suite), "split", "") == "test":
        raise ValueError(
            f"{config.suite} is for testing what was tuned: tune on a validation suite, suite=tiles-val-v1"
        )
    check_tasks(config.tasks, **{**env_options(config), "suite": config.suite})
    make_learner(config)
    return distributions


if __name__ == "__main__":
    main()
