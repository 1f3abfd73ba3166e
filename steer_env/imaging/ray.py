"""A studio on a Ray cluster: images are made in processes, one a GPU, say, which may be lost at any time."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

# Ray reads it when it is imported: tensors of an object in its store are mapped into each process, not copied.
os.environ.setdefault("RAY_ENABLE_ZERO_COPY_TORCH_TENSORS", "1")

try:
    import ray
    from ray.exceptions import ObjectLostError, RayActorError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "a studio on Ray needs a package that isn't here: pip install 'steer-env[ray]'"
    ) from error
import numpy as np
import torch
from torch import Tensor

from steer_env.compatibility import mend_torchvision
from steer_env.imaging.bank import GoalBank, Made, Maker, maker_of
from steer_env.imaging.options import RayOptions
from steer_env.imaging.studio import LocalStudio, Shard, make, maker
from steer_env.types import Generator, Metric

_LOG = logging.getLogger(__name__)
_TRIES = 3
"""How many workers may be lost in a row, or over one shard, before it is taken for the work's own fault."""


class WorkersLostError(ConnectionError):
    """Workers are lost again and again, or none can be had."""


class RayStudio(LocalStudio):
    """A studio whose images are made in processes of a Ray cluster.

    A worker that is lost, with its node or alone, is replaced as soon as the cluster has room, and its shard is sent
    again to the next that is free; no call waits for workers that can't be had yet. Generator and metrics are put
    into the cluster's object store, so that a node has them in memory once. Prompts are encoded here. All studios of a
    process share its workers, which :func:`steer_env.imaging.close_studios` ends.

    Args:
        generator, metric, judges: on the CPU; a worker that has a GPU moves them there.
        options: how many workers, and where; shards are what they share among them. Torch gets as many threads as a
            worker has CPUs.
        goal_bank: see :class:`steer_env.imaging.studio.LocalStudio`.

    Raises:
        ValueError: a part that is on a GPU or can't be moved to one.
        ConnectionError: no cluster at the address.
        RuntimeError: this process has workers of other settings.
    """

    def __init__(
        self,
        generator: Generator,
        metric: Metric,
        options: RayOptions,
        judges: Mapping[str, Metric] | None = None,
        goal_bank: GoalBank | None = None,
    ) -> None:
        super().__init__(generator, metric, judges, goal_bank, options.shard)
        if options.gpus and not hasattr(generator, "to"):
            raise ValueError(f"the generator {generator.id} can't be moved to a GPU: it has no method to(device)")
        self._workers = _workers(options)
        self._generator = self._workers.share(generator)
        self._elsewhere: Maker = {}
        for each in self.metrics.values():
            self._workers.share(each)

    def _make(
        self, shards: Iterable[Shard], names: Sequence[str], keep_images: bool, preview_steps: int
    ) -> Iterator[Made]:
        metrics = {name: self._workers.share(self._held[name]) for name in names}
        orders = (
            _Order("make", (self._generator, metrics, *_compact(shard), keep_images, preview_steps), len(shard.latents))
            for shard in shards
        )
        for embeddings, images in self._workers.run(orders):
            # Copies: what lies in the object store mustn't be written to.
            made = {name: torch.tensor(values) for name, values in embeddings.items()}
            yield made, None if images is None else torch.tensor(images)

    def _maker(self) -> Maker:
        """As a worker sees it: rounding depends on its device and threads."""
        if self._elsewhere.keys() < self._held.keys():
            metrics = {name: self._workers.share(metric) for name, metric in self._held.items()}
            (seen,) = self._workers.run(iter([_Order("maker", (self._generator, metrics))]))
            self._elsewhere = dict(seen)
        return self._elsewhere


def _compact(shard: Shard) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Latents, the rows of conditioning that they need, each once, and the row (n,) of each latent."""
    n, rows = len(shard.latents), shard.rows
    own = torch.arange(*rows.indices(rows.start + n)) if isinstance(rows, slice) else rows.cpu()
    needed, index = own.unique(return_inverse=True)
    # Where all rows are one, as of no prompt, one is enough. Tensors take their whole memory with them: hence copies.
    few = {
        name: values[:1].clone() if not values.stride(0) else values[needed]
        for name, values in shard.conditioning.items()
    }
    return shard.latents.clone(), few, index


@dataclass(eq=False)
class _Order:
    """A method of a worker to be called, about so many images."""

    method: str
    arguments: tuple[Any, ...]
    images: int = 0
    answer: Any = None
    done: bool = False
    wanted: bool = True
    lost: int = 0


class _Workers:
    """Processes that carry out orders."""

    def __init__(self, options: RayOptions) -> None:
        self.options = options
        self._waiting: deque[_Order] = deque()
        self._free: list[Any] = []
        self._busy: dict[Any, tuple[Any, _Order]] = {}
        """What a worker is to answer → the worker, and the order."""
        self._shared: dict[int, tuple[Any, list[Any]]] = {}
        self._failed_starts = 0
        _connect(options)
        resources: dict[str, Any] = {"num_cpus": options.cpus, "num_gpus": options.gpus}
        self._new = ray.remote(**resources, scheduling_strategy="SPREAD", max_restarts=0)(_Worker)
        for _ in range(options.count):
            self._start()

    def share(self, part: Any) -> list[Any]:
        """The part's place in the object store, in a list, so that Ray doesn't fetch it for every order."""
        if torch.device(getattr(part, "device", "cpu")).type != "cpu":
            raise ValueError(f"a studio on Ray hands {part.id} over from main memory: load it with device=cpu")
        if id(part) not in self._shared:
            with warnings.catch_warnings():
                # Parts are only read.
                warnings.filterwarnings("ignore", "Zero-copy tensor")
                self._shared[id(part)] = (part, [ray.put(part)])
        return self._shared[id(part)][1]

    def run(self, orders: Iterator[_Order]) -> Iterator[Any]:
        """The orders' answers, in their order; orders are taken as workers get free.

        Raises:
            WorkersLostError: no worker gave a sign for ``patience`` seconds, or they are lost again and again.
            Exception: whatever an order raised.
        """
        under_way: deque[_Order] = deque()
        try:
            while True:
                for order in islice(orders, 2 * self.options.count - len(under_way)):
                    under_way.append(order)
                    self._waiting.append(order)
                self._hand_out()
                if not under_way:
                    return
                while not under_way[0].done:
                    self._take_in()
                    self._hand_out()
                yield under_way.popleft().answer
        finally:
            self._waiting.clear()
            for order in under_way:
                order.wanted = False

    def close(self) -> None:
        """Let the workers go, and end the cluster if it was started for them."""
        for worker in [*self._free, *(worker for worker, _ in self._busy.values())]:
            ray.kill(worker)
        self._free, self._busy = [], {}
        ray.shutdown()

    def _start(self) -> None:
        self._send(self._new.remote(), _Order("start", (max(1, int(self.options.cpus)), bool(self.options.gpus))))

    def _send(self, worker: Any, order: _Order) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Zero-copy tensor")
            self._busy[getattr(worker, order.method).remote(*order.arguments)] = (worker, order)

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            self._send(self._free.pop(), self._waiting.popleft())

    def _take_in(self) -> None:
        """Wait for a sign of any worker, and take in what has come."""
        own = self.options
        came, _ = ray.wait(list(self._busy), num_returns=1, timeout=own.patience)
        if not came:
            has = ray.cluster_resources()
            there = ", ".join(f"{has.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))
            raise WorkersLostError(
                f"no sign of any worker for {own.patience} s: the cluster has {there}, and each of "
                f"{own.count} workers asks for {own.cpus:g} CPUs and {own.gpus:g} GPUs; "
                "where they only take longer, studio.patience says how long to wait"
            )
        for answer in came:
            worker, order = self._busy.pop(answer)
            try:
                order.answer, order.done = ray.get(answer), True
            except (RayActorError, ObjectLostError) as error:
                ray.kill(worker)
                self._replace(order, error)
                continue
            except Exception:
                self._free.append(worker)
                if order.wanted:
                    raise
                continue
            self._free.append(worker)
            self._failed_starts = 0

    def _replace(self, order: _Order, error: Exception) -> None:
        order.lost += 1
        if order.method == "start":
            self._failed_starts += 1
        elif order.method != "answer" and order.wanted:
            self._waiting.appendleft(order)
            _LOG.warning("a worker was lost: its %d images are made again", order.images)
        if max(self._failed_starts, order.lost) >= _TRIES:
            raise WorkersLostError(f"{_TRIES} workers were lost in a row: {error}") from error
        self._start()
        # Those that were free may have been lost with it, unnoticed: no shard shall be lost to them.
        while self._free:
            self._send(self._free.pop(), _Order("answer", ()))


class _Worker:
    """Makes shards in a process of its own."""

    def start(self, threads: int, gpu: bool) -> None:
        """Make ready; not in the constructor, whose errors look like those of a process that was lost."""
        torch.set_num_threads(threads)
        mend_torchvision()
        self._gpu, self._parts = gpu, dict[Any, Any]()
        self._generator: Any = None

    def answer(self) -> None:
        """Say that this worker is still there."""

    def make(
        self,
        generator: list[Any],
        metrics: Mapping[str, list[Any]],
        latents: Tensor,
        conditioning: Mapping[str, Tensor],
        index: Tensor,
        keep_images: bool,
        preview_steps: int,
    ) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """What comes of one shard."""
        whole, judges = self._loaded(generator, metrics)
        own_maker = maker(whole, preview_steps)
        rows = {
            name: values.expand(len(index), *values.shape[1:]) if len(values) == 1 else values[index]
            for name, values in conditioning.items()
        }
        own = {name: values.to(whole.device) for name, values in rows.items()}
        with torch.inference_mode():
            embeddings, images = make(own_maker, judges, latents.to(whole.device), own, keep_images)
        arrays = {name: values.cpu().numpy() for name, values in embeddings.items()}
        return arrays, None if images is None else images.numpy()

    def maker(self, generator: list[Any], metrics: Mapping[str, list[Any]]) -> Maker:
        """See :func:`steer_env.imaging.bank.maker_of`."""
        return maker_of(*self._loaded(generator, metrics))

    def _loaded(self, generator: list[Any], metrics: Mapping[str, list[Any]]) -> tuple[Any, dict[str, Any]]:
        if generator[0] != self._generator:
            # A new generator, whose weights may need the room.
            self._generator, self._parts = generator[0], {}
        for (reference,) in (generator, *metrics.values()):
            if reference not in self._parts:
                part = ray.get(reference)
                self._parts[reference] = part.to("cuda") if self._gpu and hasattr(part, "to") else part
        return self._parts[generator[0]], {name: self._parts[reference] for name, (reference,) in metrics.items()}


_OPEN: list[_Workers] = []
"""The workers of this process: of one kind, since a process has one Ray at a time."""


def _workers(options: RayOptions) -> _Workers:
    if not _OPEN:
        _OPEN.append(_Workers(options))
    if replace(_OPEN[0].options, shard=options.shard) != options:
        raise RuntimeError("this process has a studio on Ray with other settings: steer_env.imaging.close_studios()")
    return _OPEN[0]


def close() -> None:
    """End the workers of this process."""
    while _OPEN:
        _OPEN.pop().close()


def _connect(options: RayOptions) -> None:
    address = options.address
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # The number of workers decides, not the machine's CPUs: they share them as other processes do.
        ray.init("local", include_dashboard=False, num_cpus=max(1, round(options.count * options.cpus)), **quiet)
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
        ConnectionError: no answer there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"the address of a Ray cluster is auto or HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error
