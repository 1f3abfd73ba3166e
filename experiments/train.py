"""Train a steering policy: ``python -m experiments.train folder=outputs/my-run episodes=5000``."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from agents.checkpoints import episodes_done, training_record
from agents.loggers import load_logger
from conf import schema
from experiments.learners import keep_plot, make_learner
from experiments.runs import application, check_run, close_run, open_run, say, stop
from steer_env.evaluation import plots
from steer_env.policies.cards import PolicyCard
from steer_env.traces import read_traces

schema.register()


@application("train")
def main(config: Any) -> None:
    """Train, or go on with an unfinished training; leave the policy, its value function and the training curve."""
    check_run(config)
    settings: Any = OmegaConf.to_container(config, resolve=True)
    open_logger, learn = load_logger(**settings["logger"]), make_learner(config)
    folder = open_run(config)
    with closing(open_logger(folder, episodes_done(folder), settings)) as logger:
        policy = learn(folder, logger)
        if policy is None:
            stop(folder)
        policy.card = PolicyCard(training=training_record(folder))
        policy.save(folder / "policy")
        improvements = np.array([trace.improvement for trace in read_traces(folder / "traces")])
        keep_plot(plots.training_curve(improvements), "training", folder, logger)
    close_run(folder, {"episodes": len(improvements), "scales": policy.rows})
    say(f"learned mixture scales, {policy.order}: {policy.rows}")
    say(f"wrote {folder}/policy and the plots beside it")


if __name__ == "__main__":
    main()
