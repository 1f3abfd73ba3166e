"""Train a Stable-Baselines3 agent: on (round, stayed), or as a network on whatever else the environment shows."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from agents.checkpoints import Checkpoints
from agents.episodes import EpisodeStream, Training
from agents.loggers import NO_LOGGER, Logger
from agents.progress import interruptible, progress
from agents.proposer import NEEDS, Proposer, ProposerPolicy
from steer_env.compatibility import reason
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.mechanisms.directions import DirectionSteering
from steer_env.policies import TablePolicy
from steer_env.policies.histories import HistoryPolicy
from steer_env.policies.stored import StoredPolicy
from steer_env.proposals import bucket_scales
from steer_env.registry import Registry
from steer_env.sb3 import SteeringVecEnv
from steer_env.traces import SteeringTrace

ALGORITHMS: Registry[type[BaseAlgorithm]] = Registry(
    "algorithm", {"ppo": PPO, "a2c": A2C, "dqn": DQN, "recurrent-ppo": RecurrentPPO, "sac": SAC, "td3": TD3}
)
_OURS = ("self", "policy", "env", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model")
_DISCRETE, _CONTINUOUS = ("dqn",), ("sac", "td3")
"""Algorithms that know one kind of action alone."""
WEIGHTS = "checkpoint.pt"
_NORMALISATION = "normalisation"


def train_sb3(
    algorithm: str,
    settings: dict[str, Any],
    env: ImageSteeringVectorEnv,
    training: Training,
    folder: Path,
    name: str,
    logger: Logger = NO_LOGGER,
    warm_start: str = "",
) -> StoredPolicy | None:
    """Train until the episodes are played, or until Ctrl-C.

    A resumed run continues with the weights and the optimiser of its last checkpoint, and collects a fresh rollout or
    replay buffer: unlike the bandits', it isn't equal to an uninterrupted run.

    Args:
        algorithm: a name of :data:`ALGORITHMS`.
        settings: hyper-parameters, arguments of the algorithm's class.
        env: autoreset disabled. On named parts, (round, stayed), and buckets the policy comes down to scales. On flat
            observations it is a network; they and the rewards are normalised, by statistics that go with it.
        training: how long; whole rollouts are played, so the episodes may be slightly more.
        folder: receives ``checkpoint.json``, ``checkpoint.pt`` (weights, read without unpickling) and ``traces/``.
        name: of the policy.
        logger: receives the metrics of each checkpoint.
        warm_start: file of experiments.proposer that PPO or A2C begins with, see :mod:`agents.proposer`; its
            observations aren't normalised.

    Returns:
        The greedy policy: a network; or a table of scales for (round, stayed), or of an algorithm with a memory a scale
        for each history of stays; None if training was stopped.

    Raises:
        RunExistsError: the folder's checkpoint is of another configuration.
        ValueError: an unknown algorithm; and see :func:`check_algorithm`, for before anything is made.
    """
    identity, known = {"algorithm": algorithm, "settings": settings}, None
    if warm_start:
        known = check_warm_start(warm_start, algorithm, env)
        identity["warm_start"] = known.source
    checkpoints = Checkpoints(folder, identity, env, training, logger)
    done, resumed = checkpoints.load()
    stream, rounds = EpisodeStream(training.seed, len(env.suite)), env.dynamics.num_rounds
    with interruptible() as interrupted, progress(training.episodes, done) as report:
        watch = _Watch(done, checkpoints, training, interrupted, report)
        model, wrapped = _model(
            algorithm,
            settings,
            SteeringVecEnv(env, lambda: stream.options(watch.done, env.num_envs), watch.finished, name, training.seed),
            training.seed,
            known,
        )
        if resumed is not None:
            weights = torch.load(checkpoints.file(WEIGHTS), weights_only=True)
            _restore(wrapped, weights.pop(_NORMALISATION, {}))
            model.set_parameters(weights, device="cpu")
            model.num_timesteps = done * rounds
        if done < training.episodes:
            left = (training.episodes - done) * rounds
            model.learn(left, callback=watch, log_interval=None, reset_num_timesteps=resumed is None)
            watch.save()
    if watch.done < training.episodes:
        return None
    if isinstance(wrapped, VecNormalize):
        from agents.exports import exported

        return exported(model, wrapped, env.action, env.observed, name, training.seed)
    read_out = greedy_histories if isinstance(model, RecurrentPPO) else greedy_table
    return read_out(model, rounds, name, training.seed)


def _model(
    algorithm: str, settings: dict[str, Any], batch: SteeringVecEnv, seed: int, known: Proposer | None
) -> tuple[BaseAlgorithm, VecEnv]:
    """An untrained model, or one with a warm start; and what it sees."""
    kind, seeing = ALGORITHMS[algorithm], isinstance(batch.observation_space, spaces.Box)
    env: VecEnv = batch
    if seeing:
        env = VecNormalize(env, norm_obs=not known, gamma=settings.get("gamma", 0.99))
    network: Any = f"{'Mlp' if seeing else 'MultiInput'}{'Lstm' if kind is RecurrentPPO else ''}Policy"
    if known:
        own = {"warm_start": known.again, "parts": batch.env.get_attr("part_shapes")[0]}
        network, settings = ProposerPolicy, settings | {"policy_kwargs": own}
    return kind(network, env, seed=seed, device="cpu", **settings), env


class _Watch(BaseCallback):
    """Counts episodes, saves checkpoints, reports progress and stops on Ctrl-C."""

    def __init__(self, done: int, checkpoints: Checkpoints, training: Training, interrupted: Any, report: Any) -> None:
        super().__init__()
        self.done = done
        self._checkpoints, self._training = checkpoints, training
        self._interrupted, self._report = interrupted, report
        self._unsaved: list[SteeringTrace] = []

    def finished(self, traces: list[SteeringTrace]) -> None:
        """A batch of episodes has ended."""
        self.done += len(traces)
        self._unsaved += traces
        self._report(self.done, float(np.mean([trace.improvement for trace in traces])))
        if len(self._unsaved) >= self._training.batches_per_checkpoint * len(traces):
            self.save()

    def save(self) -> None:
        """Traces, weights and the checkpoint that counts them."""
        if self._unsaved:
            known = self.model.get_parameters() | _statistics(self.model.get_vec_normalize_env())
            self._checkpoints.save(self.done, self._unsaved, {}, {WEIGHTS: lambda file: torch.save(known, file)})
            self._unsaved = []

    def _on_step(self) -> bool:
        return not self._interrupted()


def check_algorithm(
    algorithm: str, settings: Mapping[str, Any], env: ImageSteeringVectorEnv, seed: int = 0, warm_start: str = ""
) -> None:
    """Raises a ValueError for an algorithm that doesn't know the kind of action, or can't be made of these."""
    discrete = isinstance(env.single_action_space, spaces.Discrete)
    if algorithm in (_CONTINUOUS if discrete else _DISCRETE):
        others = "scale, directions or proposals" if discrete else "bucket"
        raise ValueError(f"agent {algorithm} needs env.action={others}, got {env.action}")
    parameters = inspect.signature(ALGORITHMS[algorithm]).parameters
    allowed = Registry(f"setting of {algorithm}", {name: None for name in parameters if name not in _OURS})
    for name in settings:
        allowed[name]
    known = check_warm_start(warm_start, algorithm, env) if warm_start else None
    try:
        with warnings.catch_warnings():
            # The training itself warns, once.
            warnings.simplefilter("ignore")
            _model(algorithm, dict(settings), SteeringVecEnv(env, policy=algorithm), seed, known)
    except Exception as error:
        raise ValueError(f"agent.settings, or seed, are none that {algorithm} can use: {reason(error)}") from error


def check_warm_start(file: str, algorithm: str, env: ImageSteeringVectorEnv) -> Proposer:
    """What training begins with.

    Raises:
        ValueError: no such file, or an algorithm, observations or actions that it isn't for.
    """
    if algorithm not in ("ppo", "a2c"):
        raise ValueError(f"agent.warm_start is for agent=ppo and agent=a2c, not for {algorithm}")
    proposer, mechanism = Proposer.load(file), env.dynamics.mechanism
    shape = proposer.shape
    if missing := [part for part in NEEDS if part not in env.observed]:
        raise ValueError(f"agent.warm_start needs env.observe=[{','.join(NEEDS)}], which lacks {missing[0]}")
    directed = isinstance(mechanism, DirectionSteering) and (mechanism.dimensions, mechanism.leash)
    if directed != (shape.size, shape.leash) or env.dynamics.num_rounds != shape.rounds:
        raise ValueError(
            f"agent.warm_start={file} is for env.action=directions:dimensions={shape.size},leash={shape.leash:g} and "
            f"env.rounds={shape.rounds}, not for {env.action} and {env.dynamics.num_rounds}"
        )
    seen = {name: env.part_shapes[name] for name in ("conditioning", "embedding")}
    if seen != {"conditioning": (shape.conditioning,), "embedding": (shape.dimensions,)}:
        raise ValueError(
            f"agent.warm_start={file} is for another generator or metric: prompts and embeddings are {seen}"
        )
    return proposer


def _statistics(env: VecNormalize | None) -> dict[str, Any]:
    """What observations and rewards are normalised by, as tensors."""
    if env is None:
        return {}
    means = {name: getattr(env, name) for name in ("obs_rms", "ret_rms") if hasattr(env, name)}
    return {
        _NORMALISATION: {
            name: {part: torch.as_tensor(getattr(known, part)) for part in ("mean", "var", "count")}
            for name, known in means.items()
        }
    }


def _restore(env: VecEnv, statistics: dict[str, dict[str, torch.Tensor]]) -> None:
    """The inverse of :func:`_statistics`."""
    for name, parts in statistics.items():
        for part, value in parts.items():
            setattr(getattr(env, name), part, value.numpy() if value.ndim else value.item())


def greedy_table(model: BaseAlgorithm, rounds: int, name: str, training_seed: int) -> TablePolicy:
    """What a model that sees (round, stayed) alone does without exploring."""
    place = np.repeat(np.arange(rounds), 2)
    observation = {"round": place, "stayed": np.tile([0, 1], rounds)}
    buckets, _ = model.predict(observation, deterministic=True)
    return TablePolicy(name, bucket_scales(buckets).reshape(rounds, 2), training_seed)


def greedy_histories(model: BaseAlgorithm, rounds: int, name: str, training_seed: int) -> HistoryPolicy:
    """The same of a model with a memory, whose state is followed along every history that it can tell from others."""
    stayed, state, rows = np.zeros(1, dtype=np.int64), None, []
    for place in range(rounds):
        observation = {"round": np.full(len(stayed), place), "stayed": stayed}
        begins = np.full(len(stayed), place == 0)
        buckets, state = model.predict(observation, state, begins, deterministic=True)
        rows.append(bucket_scales(buckets))
        # Each history goes on by a move or by a stay.
        state = tuple(np.repeat(part, 2, axis=1) for part in state or ())
        stayed = np.tile([0, 1], len(stayed))
    return HistoryPolicy(name, rows, training_seed)
