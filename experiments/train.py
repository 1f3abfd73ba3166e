"""Train a Thompson-sampling steering policy: ``python -m experiments.train folder=outputs/my-run episodes=5000``."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.thompson import ThompsonSampling
from agents.training import Training, train
from conf import schema
from experiments.runs import application, check_run, close_run, console, env_options, open_run
from steer_env.evaluation import plots
from steer_env.evaluation.rollout import make_env
from steer_env.traces import read_traces

schema.register()


@application("train")
def main(config: Any) -> None:
    """Train, or go on with an unfinished training; leave the policy, its value function and the training curve."""
    check_run(config)
    env = make_env(config.batch, **env_options(config))
    agent = ThompsonSampling(config.env.rounds, config.agent.cells, config.agent.prior_variance)
    folder = open_run(config)
    if not train(agent, env, Training(config.episodes, config.seed), folder):
        console.print(f"stopped; the same command goes on with the run in {folder}")
        raise SystemExit(130)
    policy = agent.policy(config.agent.name, config.seed)
    policy.save(folder / "policy")
    improvements = np.array([trace.improvement for trace in read_traces(folder / "traces")])
    plots.training_curve(improvements).savefig(folder / "training.png", dpi=150)
    plots.value_function(agent.means, agent.deviations, agent.counts).savefig(folder / "values.png", dpi=150)
    close_run(folder, {"episodes": len(improvements), "scales": policy.scales.tolist()})
    console.print(f"learned mixture scales, (moved, stayed) for each round: {policy.scales.tolist()}")
    console.print(f"wrote {folder}/policy, training.png and values.png")


if __name__ == "__main__":
    main()
