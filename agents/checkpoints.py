"""What a training leaves in its folder while it runs: traces, and a checkpoint to go on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from agents.episodes import Training
from agents.files import CHECKPOINT, RunExistsError, read_checkpoint, write_json
from agents.loggers import NO_LOGGER, Logger, training_metrics
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.files import SEAL, DamagedError, file_hash, seal, write_atomically
from steer_env.policies.cards import TrainingRecord
from steer_env.traces import SteeringTrace, write_traces
from steer_env.versions import VERSIONS

TRACES = "traces"
Writer = Callable[[BinaryIO], Any]
NO_FILES: Mapping[str, Writer] = MappingProxyType({})
_NEXT = ".next"
"""Ending of a file's name until the checkpoint that lists it is written."""
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
        self._traces: dict[str, str] = {}
        self._files: dict[str, str] = {}
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

        What a crash left of traces behind the checkpoint is dropped: those episodes are played again.

        Raises:
            RunExistsError: the checkpoint is of another configuration. The number of episodes may differ.
            DamagedError: a file that isn't what the checkpoint says, is missing, or is another run's.
        """
        checkpoint = read_checkpoint(self._folder)
        if checkpoint is not None:
            self._check_identity(checkpoint["identity"])
            self._traces, self._files = checkpoint["traces"], checkpoint["files"]
        done = checkpoint["episodes"] if checkpoint else 0
        self._check_traces(done)
        return (done, checkpoint["agent"]) if checkpoint else (0, None)

    def _check_identity(self, stored: dict[str, Any]) -> None:
        before = {name: stored.get(name) for name in self._identity}
        different = [name for name, value in self._identity.items() if before[name] != value]
        if different:
            was, now = ({name: values[name] for name in different} for values in (before, self._identity))
            raise RunExistsError(
                f"{self._folder} holds a run with {was}, not {now}: choose another folder, or overwrite=true"
            )

    def _check_traces(self, done: int) -> None:
        check_listed(self._folder / TRACES, self._traces)
        for path in (self._folder / TRACES).glob("*.parquet"):
            if path.name == _part(done):
                path.unlink()
            elif path.name not in self._traces:
                raise DamagedError(f"{path} isn't a file of this run: its checkpoint doesn't list it; move it away")

    def file(self, name: str) -> Path:
        """Where a file is that was given to :meth:`save`; a DamagedError if it isn't there as it was."""
        for path in (self._folder / name, self._folder / f"{name}{_NEXT}"):
            if path.is_file() and file_hash(path) == self._files.get(name):
                return path
        raise DamagedError(f"{self._folder / name} is damaged: it isn't what {CHECKPOINT} says")

    def save(self, done: int, traces: list[SteeringTrace], state: Any, files: Mapping[str, Writer] = NO_FILES) -> None:
        """Traces, files and log first: what a crash in between leaves of them, the resumed run writes again.

        Args:
            done: episodes.
            traces: of those since the last checkpoint.
            state: the agent's, as JSON.
            files: by name, what writes a file that belongs to the state into an open one.

        Raises:
            FileNotFoundError: what was saved before isn't there any more.
        """
        check_there(self._folder, self._traces)
        if traces:
            path = self._folder / TRACES / _part(done - len(traces))
            write_traces(traces, path)
            self._traces[path.name] = file_hash(path)
            self._logger.metrics(done, training_metrics(traces))
        for name, write in files.items():
            path = self._folder / f"{name}{_NEXT}"
            write_atomically(path, write)
            self._files[name] = file_hash(path)
        checkpoint = {"identity": self._identity, "episodes": done, "agent": state}
        checkpoint |= {"traces": self._traces, "files": self._files}
        write_json({**checkpoint, SEAL: seal(checkpoint)}, self._folder / CHECKPOINT)
        for name in files:
            (self._folder / f"{name}{_NEXT}").replace(self._folder / name)


def _part(first: int) -> str:
    """Name of the file with the traces from that episode on."""
    return f"{first:08d}.parquet"


def check_listed(folder: Path, listed: Mapping[str, str]) -> None:
    """Raises a DamagedError for a file that is missing, or whose hash is another than the listed one."""
    for name, known in listed.items():
        if not (folder / name).is_file():
            raise DamagedError(f"{folder / name} is missing, which the checkpoint lists")
        if file_hash(folder / name) != known:
            raise DamagedError(f"{folder / name} is damaged: it isn't what the checkpoint says")


def check_there(folder: Path, traces: Mapping[str, str]) -> None:
    """Raises a FileNotFoundError if a run's folder has lost its checkpoint or its last traces."""
    if traces and not ((folder / CHECKPOINT).is_file() and (folder / TRACES / max(traces)).is_file()):
        raise FileNotFoundError(f"{folder} was removed, or emptied, while the run was at work there")


def finished_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a training that has ended, with all that it lists.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: something isn't what was written.
    """
    checkpoint = read_checkpoint(folder)
    if checkpoint is None:
        raise FileNotFoundError(f"{folder} was removed, or emptied, while the run was at work there")
    check_listed(folder / TRACES, checkpoint["traces"])
    return checkpoint


def training_record(folder: Path) -> TrainingRecord:
    """How the policy of a finished training was learned, for its card; raises as :func:`finished_checkpoint`."""
    checkpoint = finished_checkpoint(folder)
    settings = {name: value for name, value in checkpoint["identity"].items() if name not in ("suite", "seed")}
    return TrainingRecord(checkpoint["identity"]["suite"], checkpoint["episodes"], settings, VERSIONS)
