"""Train a steering policy: ``python -m experiments.train folder=outputs/my-run episodes=5000``."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from agents.files import episodes_done
from experiments.run import Run, choice, command, say
from experiments.run.options import LauncherOptions, LoggerOptions, TrainingOptions
from steer_env.policies.cards import PolicyCard
from steer_env.policies.stored import ScalesPolicy


@dataclass
class TrainOptions(TrainingOptions):
    """Train a steering policy.

    The folder receives checkpoint.json, traces/, policy/ and the plots. With --multirun each job of the sweep has a
    folder below it, named by its options; the same command goes on with an interrupted sweep.
    """

    logger: LoggerOptions = choice(LoggerOptions, "none")
    launcher: LauncherOptions = choice(LauncherOptions, "basic")


@command(TrainOptions)
def main(options: TrainOptions, run: Run) -> dict[str, Any]:
    """Train, or go on with an unfinished training; leave the policy, its value function and the training curve."""
    import numpy as np

    from agents.checkpoints import training_record
    from agents.loggers import load_logger
    from experiments.run.learning import keep_plot, make_learner
    from steer_env.evaluation import plots
    from steer_env.traces import read_traces

    open_logger, learn = load_logger(**run.settings["logger"]), make_learner(options)
    folder = run.open()
    with closing(open_logger(folder, episodes_done(folder), run.settings)) as logger:
        policy = learn(folder, logger)
        if policy is None:
            run.stop()
        policy.card = PolicyCard(training=training_record(folder))
        policy.save(folder / "policy")
        improvements = np.array([trace.improvement for trace in read_traces(folder / "traces")])
        keep_plot(plots.training_curve(improvements), "training", folder, logger)
    scales = policy.rows if isinstance(policy, ScalesPolicy) else []
    if isinstance(policy, ScalesPolicy):
        say(f"learned mixture scales, {policy.order}: {scales}")
    say(f"wrote {folder}/policy and the plots beside it")
    return {"episodes": len(improvements), "scales": scales}


if __name__ == "__main__":
    main()
