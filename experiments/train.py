"""Train a steering policy: ``python -m experiments.train folder=outputs/my-run episodes=5000``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from omegaconf import OmegaConf

from agents.checkpoints import training_record
from agents.episodes import Training
from agents.thompson import ThompsonSampling
from agents.training import train
from conf import schema
from experiments.runs import application, check_run, close_run, console, env_options, open_run, stop
from steer_env.cards import PolicyCard
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation import plots
from steer_env.evaluation.rollout import make_env
from steer_env.policies import TablePolicy
from steer_env.traces import read_traces

schema.register()


@application("train")
def main(config: Any) -> None:
    """Train, or go on with an unfinished training; leave the policy, its value function and the training curve."""
    check_run(config)
    policy = _train_sb3(config) if "algorithm" in config.agent else _train_bandit(config)
    folder = Path(config.folder)
    if policy is None:
        stop(folder)
    policy.card = PolicyCard(training=training_record(folder))
    policy.save(folder / "policy")
    improvements = np.array([trace.improvement for trace in read_traces(folder / "traces")])
    plots.training_curve(improvements).savefig(folder / "training.png", dpi=150)
    close_run(folder, {"episodes": len(improvements), "scales": policy.scales.tolist()})
    console.print(f"learned mixture scales, (moved, stayed) for each round: {policy.scales.tolist()}")
    console.print(f"wrote {folder}/policy and the plots beside it")


def _train_bandit(config: Any) -> TablePolicy | None:
    env = make_env(config.batch, **env_options(config))
    agent = ThompsonSampling(config.env.rounds, config.agent.cells, config.agent.prior_variance)
    folder = open_run(config)
    finished = train(agent, env, Training(config.episodes, config.seed), folder)
    if agent.counts.any():
        figure = plots.value_function(agent.means, agent.deviations, agent.counts)
        figure.savefig(folder / "values.png", dpi=150)
    return agent.policy(config.agent.name, config.seed) if finished else None


def _train_sb3(config: Any) -> TablePolicy | None:
    # An optional dependency: imported where it is asked for.
    from agents.sb3 import train_sb3

    settings: Any = OmegaConf.to_container(config.agent.settings)
    env = ImageSteeringVectorEnv(
        config.batch, autoreset_mode=AutoresetMode.DISABLED, reward=config.agent.reward, **env_options(config)
    )
    training = Training(config.episodes, config.seed)
    folder = open_run(config)
    return train_sb3(config.agent.algorithm, settings, env, training, folder, config.agent.name)


if __name__ == "__main__":
    main()
