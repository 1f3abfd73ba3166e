"""What a training leaves in its folder while it runs: traces, and a checkpoint to go on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.episodes import Training
from agents.files import CHECKPOINT, RunExistsError, write_json
from agents.loggers import NO_LOGGER, Logger, training_metrics
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import VERSIONS
from steer_env.policies.cards import TrainingRecord
from steer_env.traces import SteeringTrace, write_traces

_BEFORE = {"parts": 1, "lag": 0}
"""What older trainings had in other ways; such a training can't go on."""


class Checkpoints:
    """The checkpoint of one training.

    Args:
        folder: receives ``checkpoint.json`` and ``traces/``.
        agent: settings of the agent, as JSON.
        env: the environment that it trains in.
        training: how long, and in what order.
        logger: receives the metrics of each checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        agent: dict[str, Any],
        env: ImageSteeringVectorEnv,
        training: Training,
        logger: Logger = NO_LOGGER,
    ) -> None:
        dynamics = env.dynamics
        self._folder, self._logger = folder, logger
        self._identity: dict[str, Any] = {
            **agent,
            "seed": training.seed,
            "batch": env.num_envs,
            **_BEFORE,
            "suite": env.suite.name,
            "rounds": dynamics.num_rounds,
            "proposals": dynamics.num_proposals,
            "generator": dynamics.generator.id,
            "metric": dynamics.metric.id,
            "human": dynamics.human.id,
            "distribution": dynamics.mechanism.id,
        }

    def load(self) -> tuple[int, Any]:
        """Episodes done and the agent's state; (0, None) without a checkpoint.

        Raises:
            RunExistsError: the checkpoint is of another configuration. The number of episodes may differ.
        """
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return 0, None
        checkpoint = json.loads(path.read_text())
        before = {name: checkpoint["identity"].get(name) for name in self._identity}
        different = [name for name, value in self._identity.items() if before[name] != value]
        if different:
            was, now = ({name: values[name] for name in different} for values in (before, self._identity))
            raise RunExistsError(
                f"{self._folder} holds a run with {was}, not {now}: choose another folder, or overwrite=true"
            )
        return int(checkpoint["episodes"]), checkpoint["agent"]

    def save(self, done: int, traces: list[SteeringTrace], state: Any) -> None:
        """Traces and log first: what a crash in between leaves of them, the resumed run writes again."""
        if traces:
            write_traces(traces, self._folder / "traces" / f"{done - len(traces):08d}.parquet")
            self._logger.metrics(done, training_metrics(traces))
        checkpoint = {"identity": self._identity, "episodes": done, "agent": state}
        write_json(checkpoint, self._folder / CHECKPOINT)


def training_record(folder: Path) -> TrainingRecord:
    """How the policy of a finished training was learned, for its card."""
    checkpoint = json.loads((folder / CHECKPOINT).read_text())
    settings = {name: value for name, value in checkpoint["identity"].items() if name not in ("suite", "seed")}
    return TrainingRecord(checkpoint["identity"]["suite"], checkpoint["episodes"], settings, VERSIONS)
