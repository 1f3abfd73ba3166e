"""Policies as networks: an ONNX graph beside ``policy.json``, which runs without any code of its author's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steer_env.files import read_plain, write_atomically
from steer_env.mechanisms import ACTIONS, SCALES
from steer_env.policies.cards import PolicyCard
from steer_env.policies.graphs import LARGEST, STATE, inspect
from steer_env.policies.stored import PolicyError, StoredPolicy
from steer_env.proposals import BUCKETS, bucket_scales
from steer_env.registry import Registry, resolve
from steer_env.types import OBSERVATIONS

GRAPH_FILE = "policy.onnx"
ACTION, FLAT, NOISE, NEXT = "action", "observation", "noise", "next_"
"""Names of the output, of the input that joins all observations, of one that is standard normal; and of new states."""
OBSERVABLE = Registry("observation", dict.fromkeys(["image", "embedding", "latent", "conditioning", "history"]))
"""What a network may ask for beside the round and whether the user stayed."""
_HISTORY = ("shown", "chosen", "played")
_NOISE_STREAM = 3


class NetworkPolicy(StoredPolicy):
    """What an ONNX graph says.

    Its inputs are observations by their names (:data:`steer_env.types.OBSERVATIONS`, and ``image``), float32 and with
    one row an episode; ``round`` and ``stayed`` are one-hot. Or a single input ``observation`` has them all, joined and
    flattened in that order, as the environment has them by default. An input ``noise`` (1, M) is standard normal, from
    each episode's own seed, new in each round. An input whose name begins with ``state`` is zero in the first round and
    then what the output of that name with ``next_`` before it was. The output ``action`` is what the environment's
    action is: for ``bucket`` a number from 0 to 9, for ``scale`` one in [0, 1], else (1, K, …) in [−1, 1]. What is out
    of range is clipped, and what isn't a number counts as 0.

    Each episode is computed alone, so that its actions don't depend on the others.

    Args:
        name, training_seed, card: see :class:`steer_env.policies.stored.StoredPolicy`.
        graph: the ONNX file's content.
        action: kind of action, with options where it has them, such as ``directions:dimensions=32``.
        observe: what the environment is to show beside the round and whether the user stayed.

    Raises:
        PolicyError: a graph that isn't allowed (:mod:`steer_env.policies.graphs`), an unknown observation or action, or
            inputs and outputs of other names.
    """

    kind = "network"

    def __init__(
        self,
        name: str,
        graph: bytes,
        action: str,
        observe: Sequence[str] = (),
        training_seed: int = -1,
        card: PolicyCard | None = None,
    ) -> None:
        super().__init__(name, training_seed, card)
        self.stated, self.observe, self._graph = action, tuple(observe), graph
        try:
            resolve(ACTIONS, action)
            for part in observe:
                OBSERVABLE[part]
            self.signature = inspect(graph)
            self._check_names()
            self._session = _session(graph)
        except ImportError as error:
            raise PolicyError('networks need a package that is missing: pip install "steer-env[onnx]"') from error
        except ValueError as error:
            raise PolicyError(f"policy {name!r}: {error}") from error
        self._states: dict[str, np.ndarray] = {}
        self._rngs: list[np.random.Generator] = []

    @property
    def action(self) -> str:
        """The kind of action that :meth:`act` returns: scales for buckets, too."""
        return "scale" if self.stated in SCALES else self.stated

    @property
    def is_certain(self) -> bool:
        """Does it draw nothing at random?"""
        return NOISE not in self.signature.inputs

    def _check_names(self) -> None:
        inputs, outputs = self.signature.inputs, self.signature.outputs
        states = {name for name in inputs if name.startswith(STATE)}
        known = {FLAT} if FLAT in inputs else {*self._parts(), *({"image"} & set(self.observe))}
        if unknown := sorted(set(inputs) - states - known - {NOISE}):
            raise ValueError(
                f"unknown input {unknown[0][:40]!a}; with these observations there are: {', '.join(sorted(known))}"
            )
        expected = {ACTION, *(f"{NEXT}{name}" for name in states)}
        if set(outputs) != expected:
            raise ValueError(f"outputs must be {', '.join(sorted(expected))}, got {', '.join(sorted(outputs))[:80]}")
        for name in states:
            if outputs[f"{NEXT}{name}"] != inputs[name]:
                raise ValueError(f"{NEXT}{name} must have the shape of {name}")
        if self.stated in SCALES and np.prod(outputs[ACTION], dtype=int) != 1:
            raise ValueError(f"an action {self.stated} is one number, got the shape {outputs[ACTION]}")

    @property
    def sees(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what it takes beside the round and whether the user stayed, for :mod:`steer_env.testing`."""
        inputs = self.signature.inputs
        if FLAT in inputs:
            # One part stands for all: they are joined anyway.
            return {self._parts()[2]: (inputs[FLAT][0] - 7,)} if self.observe else {}
        return {name: shape for name, shape in inputs.items() if name in (*OBSERVATIONS[2:], "image")}

    def _parts(self) -> list[str]:
        """Names of what the environment shows."""
        seen = {"round", "stayed", *self.observe, *(_HISTORY if "history" in self.observe else ())}
        return [name for name in OBSERVATIONS if name in seen]

    def check_fit(self, observations: Mapping[str, tuple[int, ...]], action: tuple[int, ...]) -> None:
        """Do the graph's inputs and output have the shapes of an environment?

        Args:
            observations: shapes by name, one-hot ones among them.
            action: shape of an action.

        Raises:
            PolicyError: the first that differs.
        """
        sizes = {name: observations[name] for name in OBSERVATIONS if name in observations}
        expected = {**observations, FLAT: (sum(int(np.prod(shape)) for shape in sizes.values()),)}
        for name, shape in self.signature.inputs.items():
            if name in expected and shape != expected[name]:
                raise PolicyError(
                    f"policy {self.name!r}: input {name} has the shape {shape}, here it is {expected[name]}"
                )
        declared = self.signature.outputs[ACTION]
        if self.stated not in SCALES and declared != action:
            raise PolicyError(f"policy {self.name!r}: the action has the shape {declared}, here it is {action}")

    def start(self, episode_seeds: Sequence[int]) -> None:
        """See :class:`steer_env.policies.Policy`."""
        n, inputs = len(episode_seeds), self.signature.inputs
        self._states = {
            name: np.zeros((n, *shape), np.float32) for name, shape in inputs.items() if name.startswith(STATE)
        }
        self._rngs = [np.random.default_rng([seed, _NOISE_STREAM]) for seed in episode_seeds]

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Named parts of n episodes → mixture scales float64 (n,), or actions float32 (n, K, …)."""
        inputs = self._inputs(observation)
        rows = [
            self._run({name: values[i : i + 1] for name, values in inputs.items()}, i) for i in range(len(self._rngs))
        ]
        actions = np.nan_to_num(np.concatenate(rows), nan=0.0)
        if self.stated == "bucket":
            return bucket_scales(actions.reshape(-1).round().clip(0, BUCKETS - 1).astype(np.int64))
        if self.stated == "scale":
            return actions.reshape(-1).astype(np.float64).clip(0, 1)
        return actions.clip(-1, 1)

    def _run(self, inputs: dict[str, np.ndarray], row: int) -> np.ndarray:
        own = {name: values[row : row + 1] for name, values in self._states.items()}
        if NOISE in self.signature.inputs:
            own[NOISE] = self._rngs[row].standard_normal((1, *self.signature.inputs[NOISE])).astype(np.float32)
        names = [ACTION, *(f"{NEXT}{name}" for name in self._states)]
        try:
            action, *states = self._session.run(names, inputs | own)
        except Exception as error:
            raise PolicyError(f"policy {self.name!r} can't be computed: {' '.join(str(error).split())[:200]}") from None
        for name, value in zip(self._states, states, strict=True):
            self._states[name][row] = np.nan_to_num(value[0])
        return action

    def _inputs(self, observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Float32, by name of the graph's inputs."""
        inputs = self.signature.inputs
        parts = {name: values for name, values in observation.items() if name in (*OBSERVATIONS, "image")}
        if FLAT in inputs:
            parts = {name: parts[name] for name in self._parts() if name in parts}
            rest = sum(int(np.prod(v.shape[1:])) for name, v in parts.items() if name not in ("round", "stayed"))
            sizes = {"round": inputs[FLAT][0] - 2 - rest, "stayed": 2}
            rows = [_vectors(values, sizes.get(name, 0)) for name, values in parts.items()]
            return {FLAT: np.concatenate([row.reshape(len(row), -1) for row in rows], axis=1)}
        sizes = {name: inputs[name][0] for name in ("round", "stayed") if name in inputs}
        return {name: _vectors(values, sizes.get(name, 0)) for name, values in parts.items() if name in inputs}

    def rehearse(self, rounds: int) -> None:
        """Play one episode of nothing but zeros."""
        self.start([0])
        shapes = {
            name: shape for name, shape in self.signature.inputs.items() if name not in self._states and name != NOISE
        }
        for _ in range(rounds):
            self._run({name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}, 0)

    def record(self) -> dict[str, Any]:
        """As JSON, without the card."""
        graph = hashlib.sha256(self._graph).hexdigest()
        return super().record() | {"action": self.stated, "observe": list(self.observe), "graph": graph}

    def is_like(self, other: StoredPolicy) -> bool:
        """Is it the same graph?"""
        return isinstance(other, NetworkPolicy) and other._graph == self._graph

    def save(self, folder: Path) -> None:
        """Write ``policy.onnx``, then ``policy.json``, which names its hash."""
        write_atomically(folder / GRAPH_FILE, self._graph)
        super().save(folder)


def read_graph(folder: Path, sha256: str) -> bytes:
    """The graph beside a policy's card.

    Raises:
        ValueError: none there, too large a one, or one of another hash.
    """
    try:
        content = read_plain(folder / GRAPH_FILE, LARGEST)
    except FileNotFoundError:
        raise ValueError(f"a network needs its graph: there is no file {GRAPH_FILE}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{GRAPH_FILE} isn't the graph that policy.json names: one of them is damaged")
    return content


def _vectors(values: np.ndarray, size: int) -> np.ndarray:
    """Float32 (n, …); one-hot of ``size`` where that isn't 0."""
    return np.eye(size, dtype=np.float32)[values] if size else values.astype(np.float32)


def _session(graph: bytes) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    # One thread: the same result on any machine, and nothing left running.
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    here = onnxruntime.get_available_providers()
    usable = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in here]
    try:
        return onnxruntime.InferenceSession(graph, settings, providers=usable)
    except Exception as error:
        raise ValueError(f"the graph can't be run: {' '.join(str(error).split())[:200]}") from None
