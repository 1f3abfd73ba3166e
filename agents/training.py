"""Train a bandit agent: batches of episodes, a checkpoint after each, an exact resume from any of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.bandits import BanditAgent
from agents.checkpoints import Checkpoints
from agents.episodes import EpisodeStream, Training
from agents.loggers import NO_LOGGER, Logger
from agents.progress import interruptible, progress
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import play
from steer_env.traces import SteeringTrace

_POSTERIOR = 9


def train(
    agent: BanditAgent, env: ImageSteeringVectorEnv, training: Training, folder: Path, logger: Logger = NO_LOGGER
) -> bool:
    """Train until the episodes are played, or until Ctrl-C.

    Every draw is a function of the seed and of the episode's number, and the episodes of a batch share the posterior of
    what came of all batches before: so no interruption changes what is learned.

    Args:
        agent: learns in place; a checkpoint in the folder is restored first.
        env: from :func:`steer_env.evaluation.rollout.make_env`; its size is that of a batch.
        training: how long.
        folder: receives ``checkpoint.json`` and ``traces/``.
        logger: receives the metrics of each checkpoint.

    Returns:
        Whether training finished.

    Raises:
        RunExistsError: the folder's checkpoint is of another configuration.
    """
    checkpoints = Checkpoints(folder, agent.settings, env, training, logger)
    done, state = checkpoints.load()
    if state is not None:
        agent.restore(state)
    batch, stream = env.num_envs, EpisodeStream(training.seed, len(env.suite))
    unsaved: list[SteeringTrace] = []
    with interruptible() as interrupted, progress(training.episodes, done) as report:
        while done < training.episodes and not interrupted():
            rng = np.random.default_rng([training.seed, _POSTERIOR, done])
            policy, episodes = agent.explore(batch, rng, training.seed), stream.options(done, batch)
            played = play(env, [policy], episodes["task_index"], episodes["episode_seed"])
            # The last batch is cut afterwards, so that batches are always of one size.
            traces = played[: training.episodes - done]
            agent.update(traces)
            unsaved += traces
            done += len(traces)
            report(done, float(np.mean([trace.improvement for trace in traces])))
            if len(unsaved) >= training.batches_per_checkpoint * batch:
                checkpoints.save(done, unsaved, agent.state())
                unsaved = []
    if unsaved:
        checkpoints.save(done, unsaved, agent.state())
    return done >= training.episodes
