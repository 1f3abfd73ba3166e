"""From a configuration to what learns: the environment and the agent that experiments.train puts together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from agents.bandits import make_bandit
from agents.checkpoints import episodes_done
from agents.episodes import Training
from agents.loggers import Logger
from agents.registry import check_own_name
from agents.training import train
from experiments.collecting import collecting, shared_options
from experiments.runs import env_options
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation import plots
from steer_env.evaluation.rollout import image_options, make_env
from steer_env.files import write_atomically
from steer_env.policies.stored import StoredPolicy

Learner = Callable[[Path, Logger], StoredPolicy | None]
"""Trains in a run's folder; gives the policy, or None if it was stopped."""


def make_learner(config: Any) -> Learner:
    """Everything that the training needs, loaded and checked.

    Raises:
        ValueError: a part or an option of it that doesn't exist, or a name that no policy may have.
    """
    check_own_name(config.agent.name)
    return _sb3(config) if "algorithm" in config.agent else _bandit(config)


def _bandit(config: Any) -> Learner:
    training = Training(config.episodes, config.seed, parts=config.parts, lag=config.lag)
    if config.batch % config.parts:
        raise ValueError(f"a batch of {config.batch} episodes can't be played in {config.parts} equal parts")
    options = shared_options(config)
    env = make_env(config.batch // config.parts, **options)
    agent = make_bandit(config.env.rounds, config.agent)

    def learn(folder: Path, logger: Logger) -> StoredPolicy | None:
        with collecting(config, options) as collectors:
            finished = train(agent, env, training, folder, logger, collectors)
        if agent.counts.any():
            keep_plot(plots.value_function(agent.means, agent.deviations, agent.counts), "values", folder, logger)
        return agent.policy(config.agent.name, config.seed) if finished else None

    return learn


def _sb3(config: Any) -> Learner:
    if config.collectors.kind != "here" or (config.parts, config.lag) != (1, 0):
        raise ValueError("collectors, parts and lag are for the bandit agents: Stable-Baselines3 plays here, in step")
    # An optional dependency: imported where it is asked for.
    from agents.sb3 import train_sb3

    settings: Any = OmegaConf.to_container(config.agent.settings)
    options = image_options(env_options(config))
    env = ImageSteeringVectorEnv(
        config.batch, autoreset_mode=AutoresetMode.DISABLED, reward=config.agent.reward, **options
    )
    training = Training(config.episodes, config.seed)
    algorithm, name = config.agent.algorithm, config.agent.name
    return lambda folder, logger: train_sb3(algorithm, settings, env, training, folder, name, logger)


def keep_plot(figure: Figure, name: str, folder: Path, logger: Logger) -> None:
    """Write a plot into the run's folder, and log it."""
    write_atomically(folder / f"{name}.png", partial(figure.savefig, format="png", dpi=150))
    logger.image(episodes_done(folder), name, figure)
