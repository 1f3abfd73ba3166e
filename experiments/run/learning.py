"""From typed options to what learns: the environment and the agent that a training puts together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from gymnasium.vector import AutoresetMode
from matplotlib.figure import Figure

from agents.bandits import make_bandit
from agents.episodes import Training
from agents.files import episodes_done
from agents.loggers import Logger
from agents.training import train
from experiments.run.options import SB3Options, TrainingOptions
from experiments.run.parts import env_options
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation import plots
from steer_env.evaluation.rollout import image_options, make_env
from steer_env.files import write_atomically
from steer_env.policies.names import check_own_name
from steer_env.policies.stored import StoredPolicy

Learner = Callable[[Path, Logger], StoredPolicy | None]
"""Trains in a run's folder; gives the policy, or None if it was stopped."""


def make_learner(options: TrainingOptions) -> Learner:
    """Everything that the training needs, loaded and checked."""
    check_own_name(options.agent.name)
    if isinstance(options.agent, SB3Options):
        return _sb3(options, options.agent)
    return _bandit(options)


def _bandit(options: TrainingOptions) -> Learner:
    if options.env.observe or options.env.action != "bucket":
        raise ValueError(
            f"agent {options.agent.name} learns buckets from (round, stayed) alone: env.observe must be empty and "
            "env.action bucket; agents such as agent=ppo see and decide more"
        )
    training, env = Training(options.episodes, options.seed), make_env(options.batch, **env_options(options))
    agent = make_bandit(options.env.rounds, asdict(options.agent))

    def learn(folder: Path, logger: Logger) -> StoredPolicy | None:
        finished = train(agent, env, training, folder, logger)
        if agent.counts.any():
            keep_plot(plots.value_function(agent.means, agent.deviations, agent.counts), "values", folder, logger)
        return agent.policy(options.agent.name, options.seed) if finished else None

    return learn


def _sb3(options: TrainingOptions, agent: SB3Options) -> Learner:
    # An optional dependency: imported where it is used.
    from agents.sb3 import ALGORITHMS, check_algorithm, train_sb3

    ALGORITHMS[agent.algorithm]
    if "image" in options.env.observe:
        raise ValueError(
            "agents see vectors: env.observe may hold embedding, latent, conditioning and history, not image"
        )
    env = ImageSteeringVectorEnv(
        options.batch,
        autoreset_mode=AutoresetMode.DISABLED,
        reward=agent.reward,
        named=not options.env.observe and options.env.action == "bucket",
        **image_options(env_options(options)),
    )
    check_algorithm(agent.algorithm, agent.settings, env, options.seed, agent.warm_start)
    training = Training(options.episodes, options.seed)
    return lambda folder, logger: train_sb3(
        *(agent.algorithm, agent.settings, env, training, folder, agent.name, logger, agent.warm_start)
    )


def keep_plot(figure: Figure, name: str, folder: Path, logger: Logger) -> None:
    """Write a plot into the run's folder, and log it."""
    write_atomically(folder / f"{name}.png", partial(figure.savefig, format="png", dpi=150))
    logger.image(episodes_done(folder), name, figure)
