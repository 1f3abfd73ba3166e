"""Fewer seeds, easier to steer, but to what: ``python -m experiments.producibility folder=outputs/seeds``."""

from __future__ import annotations

from typing import Any

import numpy as np

from conf import schema
from experiments.goal_search import check_search, search
from experiments.playing import play_suite
from experiments.runs import application, check_run, close_run, env_options, open_run, publish
from steer_env.evaluation.producibility import producibility_report
from steer_env.policies.lists import load_policies

schema.register()


@application("producibility")
def main(config: Any) -> None:
    """Steer and search with each number of seeds, and leave Figure 7."""
    check_run(config)
    (user,) = load_policies([config.user])
    options = env_options(config)
    env = check_search(config, user, options)
    folder = open_run(config)
    steered = {}
    for n in config.seeds:
        played = options | {"seeds": n}
        traces = play_suite([user], config.tasks, config.tasks_per_batch, folder / "traces" / f"{n}-seeds", **played)
        steered[n] = np.array([np.mean(trace.similarities) for trace in traces])
    maker, produced = search(config, env, folder)
    lead = f"“{user.name}” on {config.tasks} tasks of {config.env.suite}, {config.env.rounds + 1} attempts; generator "
    lead += f"{env.dynamics.generator.id}, metric {env.dynamics.metric.id}. Standard errors in parentheses."
    searched = f"similarity of the closest of at most {config.tries} images, of {config.variations} variations of the "
    searched += f"prompt with each seed, to {config.goals} goals of another generator, {maker}."
    publish(producibility_report(steered, produced, lead, searched), folder, wide=True)
    close_run(folder, {"tasks": config.tasks, "produced": {str(n): found.tolist() for n, found in produced.items()}})


if __name__ == "__main__":
    main()
