"""Train a bandit agent: batches of episodes, a checkpoint after each, an exact resume from any of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from agents.bandits import BanditAgent
from agents.checkpoints import Checkpoints
from agents.episodes import EpisodeStream, Training
from agents.loggers import NO_LOGGER, Logger
from agents.progress import interruptible, progress
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.collectors import Batch, Collectors, Here
from steer_env.evaluation.rollout import play
from steer_env.policies import Policy
from steer_env.traces import SteeringTrace

_POSTERIOR = 9


def train(
    agent: BanditAgent,
    env: ImageSteeringVectorEnv,
    training: Training,
    folder: Path,
    logger: Logger = NO_LOGGER,
    collectors: Collectors | None = None,
) -> bool:
    """Train until the episodes are played, or until Ctrl-C.

    Every draw is a function of the seed and of the episode's number, and every batch is played with the posterior of
    one settled moment: so neither an interruption nor the number of collectors changes what is learned.

    Args:
        agent: learns in place; a checkpoint in the folder is restored first.
        env: from :func:`steer_env.evaluation.rollout.make_env`; its size is a part of a batch.
        training: how long.
        folder: receives ``checkpoint.json`` and ``traces/``.
        logger: receives the metrics of each checkpoint.
        collectors: who plays, in environments like this one; this environment by default.

    Returns:
        Whether training finished.

    Raises:
        RunExistsError: the folder's checkpoint is of another configuration.
    """
    checkpoints = Checkpoints(folder, agent.settings, env, training, logger)
    done, state, earlier = checkpoints.load()
    if state is not None:
        agent.restore(state)
    ahead = _Ahead(agent, env, training, collectors or Here(partial(_play, env)))
    ahead.catch_up(done, earlier)
    unsaved: list[SteeringTrace] = []
    with interruptible() as interrupted, progress(training.episodes, done) as report:
        while done < training.episodes and not interrupted():
            traces = ahead.play(done)[: training.episodes - done]
            agent.update(traces)
            unsaved += traces
            done += len(traces)
            report(done, float(np.mean([trace.improvement for trace in traces])))
            if len(unsaved) >= training.batches_per_checkpoint * ahead.batch:
                checkpoints.save(done, unsaved, agent.state(), ahead.earlier)
                unsaved = []
    if unsaved:
        checkpoints.save(done, unsaved, agent.state(), ahead.earlier)
    return done >= training.episodes


def _play(env: ImageSteeringVectorEnv, batch: Batch) -> list[SteeringTrace]:
    return play(env, cast("Sequence[Policy]", batch.policies), batch.task_index, batch.episode_seeds)


class _Ahead:
    """Has batches played before what came of the last ones is known, as far ahead as the training's lag says.

    ``earlier`` holds the agent's states before each of the last ``lag`` batches, which is what those under way are
    played with.
    """

    def __init__(
        self, agent: BanditAgent, env: ImageSteeringVectorEnv, training: Training, collectors: Collectors
    ) -> None:
        self._agent, self._training, self._collectors = agent, training, collectors
        self._stream = EpisodeStream(training.seed, len(env.suite))
        self._part = env.num_envs
        self.batch = env.num_envs * training.parts
        self.earlier: deque[Any] = deque(maxlen=training.lag)

    def catch_up(self, done: int, earlier: list[Any] | None) -> None:
        """Submit again what was under way after so many episodes."""
        now = self._agent.state()
        for place, state in enumerate(earlier if earlier is not None else [now] * self._training.lag):
            self._agent.restore(state)
            self._submit(done + place * self.batch)
            self.earlier.append(state)
        self._agent.restore(now)

    def play(self, done: int) -> list[SteeringTrace]:
        """The next batch, whole: the last one is cut afterwards, so that batches are always of one size."""
        self._submit(done + self._training.lag * self.batch)
        self.earlier.append(self._agent.state() if self._training.lag else None)
        return [trace for _ in range(self._training.parts) for trace in self._collectors.next()]

    def _submit(self, first: int) -> None:
        if first >= self._training.episodes:
            return
        options = self._stream.options(first, self.batch)
        rng = np.random.default_rng([self._training.seed, _POSTERIOR, first])
        policy = self._agent.explore(self.batch, rng, self._training.seed)
        for start in range(0, self.batch, self._part):
            part = slice(start, start + self._part)
            self._collectors.submit(
                Batch([policy.part(part)], options["task_index"][part], options["episode_seed"][part])
            )
