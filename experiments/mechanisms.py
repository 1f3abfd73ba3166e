"""Compare steering mechanisms: ``python -m experiments.mechanisms folder=outputs/mechanisms``."""

from __future__ import annotations

from typing import Any

from agents.registry import resolve_policies
from conf import schema
from experiments.pairs import pair_options, play_pairs
from experiments.playing import check_tasks
from experiments.runs import application, check_run, close_run, env_options, open_run, publish
from steer_env.evaluation.mechanisms import mechanisms_report
from steer_env.types import Prompter

schema.register()


@application("mechanisms")
def main(config: Any) -> None:
    """Play one policy with every mechanism and every user, and leave the tables."""
    check_run(config)
    (policy,) = resolve_policies([config.policy])
    if isinstance(policy, Prompter):
        raise ValueError(f"policy must choose mixture scales, such as a schedule, not {config.policy}")
    env = check_tasks(config.tasks, **env_options(config))
    pairs = pair_options(config, env)
    folder = open_run(config)
    played = play_pairs(pairs, policy, config.tasks, config.tasks_per_batch, folder)
    lead = f"Policy “{policy.name}” on {config.tasks} tasks of {env.suite.name}: {config.env.rounds} rounds of "
    lead += (
        f"{config.env.proposals} proposals, generator {env.dynamics.generator.id}, metric {env.dynamics.metric.id}; "
    )
    lead += "the same goals, first images and noise for all. Standard errors in parentheses, over tasks."
    publish(mechanisms_report(played, lead), folder, wide=True)
    close_run(folder, {"tasks": config.tasks, "mechanisms": list(config.mechanisms), "users": list(config.users)})


if __name__ == "__main__":
    main()
