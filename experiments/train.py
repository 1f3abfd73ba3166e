"""Train a steering policy: ``python -m experiments.train folder=outputs/my-run episodes=5000``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from agents.checkpoints import episodes_done
from agents.episodes import Training
from agents.loggers import Logger, load_logger
from agents.thompson import ThompsonSampling
from agents.training import train
from conf import schema
from experiments.runs import application, check_run, close_run, env_options, open_run, say, stop
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
    settings: Any = OmegaConf.to_container(config, resolve=True)
    open_logger = load_logger(**settings["logger"])
    learn = _sb3(config) if "algorithm" in config.agent else _bandit(config)
    folder = open_run(config)
    with closing(open_logger(folder, episodes_done(folder), settings)) as logger:
        policy = learn(folder, logger)
        if policy is None:
            stop(folder)
        policy.save(folder / "policy")
        improvements = np.array([trace.improvement for trace in read_traces(folder / "traces")])
        _keep(plots.training_curve(improvements), "training", folder, logger)
    close_run(folder, {"episodes": len(improvements), "scales": policy.scales.tolist()})
    say(f"learned mixture scales, (moved, stayed) for each round: {policy.scales.tolist()}")
    say(f"wrote {folder}/policy and the plots beside it")


def _bandit(config: Any) -> Callable[[Path, Logger], TablePolicy | None]:
    env = make_env(config.batch, **env_options(config))
    agent = ThompsonSampling(config.env.rounds, config.agent.cells, config.agent.prior_variance)

    def learn(folder: Path, logger: Logger) -> TablePolicy | None:
        finished = train(agent, env, Training(config.episodes, config.seed), folder, logger)
        if agent.counts.any():
            _keep(plots.value_function(agent.means, agent.deviations, agent.counts), "values", folder, logger)
        return agent.policy(config.agent.name, config.seed) if finished else None

    return learn


def _sb3(config: Any) -> Callable[[Path, Logger], TablePolicy | None]:
    # An optional dependency: imported where it is asked for.
    from agents.sb3 import train_sb3

    settings: Any = OmegaConf.to_container(config.agent.settings)
    env = ImageSteeringVectorEnv(
        config.batch, autoreset_mode=AutoresetMode.DISABLED, reward=config.agent.reward, **env_options(config)
    )
    training = Training(config.episodes, config.seed)
    algorithm, name = config.agent.algorithm, config.agent.name
    return lambda folder, logger: train_sb3(algorithm, settings, env, training, folder, name, logger)


def _keep(figure: Figure, name: str, folder: Path, logger: Logger) -> None:
    figure.savefig(folder / f"{name}.png", dpi=150)
    logger.image(episodes_done(folder), name, figure)


if __name__ == "__main__":
    main()
