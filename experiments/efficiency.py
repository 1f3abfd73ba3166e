"""How many episodes agents need: ``python -m experiments.efficiency folder=outputs/efficiency``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.bandits import BanditAgent
from agents.milestones import check_milestones, milestones
from conf import schema
from experiments.agent_specs import bandit_factory
from experiments.runs import application, check_run, close_run, env_options, open_run, publish, stop
from experiments.specs import slug
from experiments.tables import canonical, improvements
from steer_env.evaluation.efficiency import Curves, efficiency_report
from steer_env.evaluation.rollout import make_env
from steer_env.policies import TablePolicy
from steer_env.policies.lists import load_policies

schema.register()


@application("efficiency")
def main(config: Any) -> None:
    """Train every agent with every seed, evaluate what it would choose at each checkpoint, and report."""
    check_run(config)
    agents = {spec: bandit_factory(spec, config.env.rounds) for spec in config.agents}
    best, folder = _check(config), open_run(config)
    learned = _train(config, agents, folder)
    tables = [best, *(table for trainings in learned.values() for found in trainings for table in found)]
    try:
        options = {**env_options(config), "suite": config.suite}
        gains = improvements(tables, config.tasks, config.tasks_per_batch, folder / "traces", **options)
    except KeyboardInterrupt:
        stop(folder)
    by_agent = {spec: np.array([[gains[t.name] for t in found] for found in learned[spec]]) for spec in agents}
    curves = Curves(list(config.checkpoints), by_agent, gains[best.name], config.share)
    publish(efficiency_report(curves, config.best, f"Trained on {config.env.suite}, tested on {config.suite}."), folder)
    close_run(folder, {"tables": len(gains), "episodes needed": curves.needed()})


def _check(config: Any) -> TablePolicy:
    """The best known policy; nothing has been worked on yet.

    Raises:
        ValueError: an option out of range, or a best known policy that isn't a table.
    """
    check_milestones(config.checkpoints, config.batch)
    (best,) = load_policies([config.best])
    if not isinstance(best, TablePolicy):
        raise ValueError(f"best must be a table over (round, stayed), such as a schedule, not {config.best}")
    if config.seeds < 2:
        raise ValueError(f"seeds must be at least 2, for an error over trainings, got {config.seeds}")
    available = len(make_env(1, **{**env_options(config), "suite": config.suite}).suite)
    if not 2 <= config.tasks <= available:
        raise ValueError(f"tasks must be 2 to {available}, the size of {config.suite}, got {config.tasks}")
    return canonical(best, config.env.rounds)


def _train(
    config: Any, agents: Mapping[str, Callable[[], BanditAgent]], folder: Path
) -> dict[str, list[list[TablePolicy]]]:
    """Agent → for each training seed the tables at the checkpoints."""
    env, rounds = make_env(config.batch, **env_options(config)), config.env.rounds
    learned: dict[str, list[list[TablePolicy]]] = {spec: [] for spec in agents}
    for seed in range(config.seeds):
        for spec, make_agent in agents.items():
            place = folder / "training" / slug(spec) / f"seed-{seed}"
            found = milestones(make_agent(), env, seed, config.checkpoints, place)
            if found is None:
                stop(folder)
            learned[spec].append([canonical(policy, rounds) for policy in found])
    return learned


if __name__ == "__main__":
    main()
