"""Collectors on a Ray cluster: one process a GPU, say, which may be lost at any time."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Ray reads it when it is imported: tensors of an object in its store are mapped into each process, not copied.
os.environ.setdefault("RAY_ENABLE_ZERO_COPY_TORCH_TENSORS", "1")

try:
    import ray
    from ray.exceptions import ObjectLostError, RayActorError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "collectors on Ray need a package that isn't here: pip install 'steer-env[ray]'"
    ) from error
import torch

from steer_env.compatibility import mend_torchvision
from steer_env.evaluation.collectors import Batch
from steer_env.evaluation.suites import Player
from steer_env.traces import SteeringTrace

_LOG = logging.getLogger(__name__)
_TRIES = 3
"""How many collectors may be lost in a row, or over one batch, before it is taken for the work's own fault."""


class CollectorsLostError(RuntimeError):
    """Collectors are lost again and again, or none can be had."""


@dataclass(eq=False)
class _Order:
    batch: Batch
    traces: list[SteeringTrace] | None = None
    lost: int = 0


class RayCollectors:
    """Collectors in processes of a Ray cluster, see :class:`steer_env.evaluation.collectors.Collectors`.

    A collector that is lost, with its node or alone, is replaced as soon as the cluster has room, and the batch that it
    played is begun again by whoever is free; collectors that can't be had yet are waited for by nobody. Models are put
    into the cluster's object store, so that a node has them in memory once.

    Args:
        options: of the environment; ``generator`` and ``metric`` may be parts that are loaded already, which are then
            shared, and should be on the CPU.
        count: how many collectors.
        address: of a cluster, such as ``auto`` or ``host:6379``; none starts one on this machine, which ends with
            :meth:`close`.
        cpus, gpus: of a collector; torch gets as many threads as CPUs.
        devices: part → where a collector moves it to, such as ``{"generator": "cuda"}``.
        patience: seconds to wait for the first collector, and without a sign of any.
        player: what plays in each process.

    Raises:
        ValueError: a count or a resource out of range, or a part that can't be moved.
        ConnectionError: no cluster at the address.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        count: int,
        address: str | None = None,
        cpus: float = 1,
        gpus: float = 0,
        devices: Mapping[str, str] | None = None,
        patience: float = 600,
        player: type[Player] = Player,
    ) -> None:
        if count < 1 or cpus <= 0 or gpus < 0:
            raise ValueError(f"count must be at least 1, cpus positive, gpus at least 0; got {count}, {cpus}, {gpus}")
        for name in devices or {}:
            if not hasattr(options[name], "to"):
                raise ValueError(f"the {name} {options[name].id} can't be moved to another device")
        self.capacity = 2 * count
        self._cpus, self._gpus, self._patience = cpus, gpus, patience
        self._orders: deque[_Order] = deque()
        self._waiting: deque[_Order] = deque()
        self._free: list[Any] = []
        self._busy: dict[Any, tuple[Any, _Order | None]] = {}
        """What a collector was last asked → the collector, and what it plays: nothing while it is still starting."""
        self._failed_starts = 0
        _connect(address, count, cpus)
        with warnings.catch_warnings():
            # Models are only read.
            warnings.filterwarnings("ignore", "Zero-copy tensor")
            self._options = {name: ray.put(value) for name, value in options.items()}
        self._devices = dict(devices or {})
        threads = max(1, int(cpus))
        self._make = ray.remote(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD", max_restarts=0)(_Collector)
        self._arguments = (player, self._options, self._devices, threads)
        for _ in range(count):
            self._start()

    def submit(self, batch: Batch) -> None:
        """See :class:`steer_env.evaluation.collectors.Collectors`."""
        order = _Order(batch)
        self._orders.append(order)
        self._waiting.append(order)
        self._hand_out()

    def next(self) -> list[SteeringTrace]:
        """See :class:`steer_env.evaluation.collectors.Collectors`.

        Raises:
            CollectorsLostError: no collector gave a sign for ``patience`` seconds, or they are lost again and again.
            Exception: whatever the episodes raised.
        """
        order = self._orders.popleft()
        while order.traces is None:
            self._take_in()
            self._hand_out()
        return order.traces

    def close(self) -> None:
        """Let the collectors go, and end the cluster if it was started for them."""
        for collector in [*self._free, *(collector for collector, _ in self._busy.values())]:
            ray.kill(collector)
        self._free, self._busy = [], {}
        ray.shutdown()

    def _start(self) -> None:
        collector = self._make.remote()
        self._busy[collector.load.remote(*self._arguments)] = (collector, None)

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            collector, order = self._free.pop(), self._waiting.popleft()
            self._busy[collector.play.remote(order.batch)] = (collector, order)

    def _take_in(self) -> None:
        """Wait for a sign of any collector, and take in what has come."""
        came, _ = ray.wait(list(self._busy), num_returns=1, timeout=self._patience)
        if not came:
            raise CollectorsLostError(
                f"no sign of any collector for {self._patience} s: the cluster has {_resources()}, and each of "
                f"{self.capacity // 2} collectors asks for {self._cpus:g} CPUs and {self._gpus:g} GPUs; "
                "where they only take longer, collectors.patience says how long to wait"
            )
        for answer in came:
            collector, order = self._busy.pop(answer)
            try:
                found = ray.get(answer)
            except (RayActorError, ObjectLostError) as error:
                ray.kill(collector)
                self._replace(order, error)
                continue
            except Exception:
                self._free.append(collector)
                raise
            self._free.append(collector)
            self._failed_starts = 0
            if order:
                order.traces = found

    def _replace(self, order: _Order | None, error: Exception) -> None:
        if order:
            order.lost += 1
            self._waiting.appendleft(order)
            _LOG.warning("a collector was lost: its %d episodes are played again", len(order.batch.task_index))
        else:
            self._failed_starts += 1
        if max(self._failed_starts, order.lost if order else 0) >= _TRIES:
            raise CollectorsLostError(f"{_TRIES} collectors were lost in a row: {error}") from error
        self._start()


class _Collector:
    """Plays batches in a process of its own."""

    def load(self, player: type[Player], options: Mapping[str, Any], devices: Mapping[str, str], threads: int) -> None:
        """Make ready to play; not in the constructor, whose errors look like those of a process that was lost."""
        torch.set_num_threads(threads)
        mend_torchvision()
        parts = {name: ray.get(value) for name, value in options.items()}
        for name, device in devices.items():
            parts[name] = parts[name].to(device)
        self._player = player(**parts)

    def play(self, batch: Batch) -> list[SteeringTrace]:
        """The batch's traces."""
        return self._player(batch)


def _connect(address: str | None, count: int, cpus: float) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # As many as are asked for, however many the machine has: they share them as other processes do.
        ray.init("local", include_dashboard=False, num_cpus=max(1, round(count * cpus)), **quiet)
        return
    try:
        if address != "auto":
            _knock(address)
        ray.init(address, **quiet)
    except ConnectionError as error:
        advice = "`ray start --head` starts one; without an address one is started on this machine, for this run"
        raise ConnectionError(f"no Ray cluster at {address}: {advice}; {error}") from error


def _knock(address: str) -> None:
    """Ray itself would try for minutes.

    Raises:
        ValueError: no HOST:PORT.
        ConnectionError: nobody answers there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"the address of a Ray cluster is auto or HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _resources() -> str:
    found = ray.cluster_resources()
    return ", ".join(f"{found.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))
