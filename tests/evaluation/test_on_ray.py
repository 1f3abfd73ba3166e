"""Collectors on a Ray that is started for them, on this machine."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import psutil
import pytest
import torch

pytest.importorskip("ray", reason="needs the extra ray")

from steer_env.evaluation.collectors import Batch
from steer_env.evaluation.on_ray import CollectorsLostError, RayCollectors
from steer_env.policies import TablePolicy
from steer_env.types import Generator, Metric

pytestmark = pytest.mark.slow
MIB = 2**20
SMALL = {"rounds": 1, "proposals": 1}


class Policy(TablePolicy):
    """Does something else first, in the process that plays."""

    def __init__(self, start: Any) -> None:
        super().__init__("restless", np.full((1, 2), 0.5))
        self._start = start

    def start(self, episode_seeds: Sequence[int]) -> None:
        self._start()


class Heavy:
    """A generator with 256 MiB of weights, of which it reads every one."""

    def __init__(self, inner: Generator) -> None:
        self._inner, self.weights = inner, torch.ones(64 * MIB)
        self.id, self.device, self.max_batch = inner.id, inner.device, inner.max_batch
        self.latent_shape, self.image_shape = inner.latent_shape, inner.image_shape

    def encode(self, prompts: Sequence[str]) -> Any:
        return self._inner.encode(prompts)

    def generate(self, latents: torch.Tensor, conditioning: Any) -> torch.Tensor:
        assert self.weights.sum() == len(self.weights)
        return self._inner.generate(latents, conditioning)


def batch(start: Any = lambda: None) -> Batch:
    return Batch([Policy(start)], [0, 1], [5, 6])


def collectors(generator: Any, metric: Metric, count: int = 1, **settings: Any) -> closing[RayCollectors]:
    return closing(RayCollectors({**SMALL, "generator": generator, "metric": metric}, count, **settings))


def test_a_batch_that_ends_every_collector_is_an_error(generator: Generator, metric: Metric) -> None:
    with collectors(generator, metric) as pool:
        pool.submit(batch(lambda: os._exit(1)))
        with pytest.raises(CollectorsLostError, match="3 collectors were lost in a row"):
            pool.next()


def test_what_cant_be_had_is_an_error_that_says_what_there_is(generator: Generator, metric: Metric) -> None:
    with collectors(generator, metric, gpus=1, patience=3) as pool:
        pool.submit(batch())
        with pytest.raises(
            CollectorsLostError, match=r"for 3 s: the cluster has 1 CPUs, 0 GPUs, and each of 1 .* 1 GPUs"
        ):
            pool.next()


def test_models_are_in_memory_once(generator: Generator, metric: Metric) -> None:
    with collectors(Heavy(generator), metric, 2) as pool:
        for _ in range(4):
            pool.submit(batch(lambda: time.sleep(1)))
        for _ in range(4):
            pool.next()
        players = [
            p for p in psutil.process_iter(["cmdline"]) if "ray::_Collector" in " ".join(p.info["cmdline"] or [])
        ]
        memory = [process.memory_full_info() for process in players]
    assert len(memory) == 2
    for found in memory:
        assert found.shared > 256 * MIB
        assert found.uss < found.rss - 256 * MIB


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, .* got 0"),
        ({"gpus": -1}, ValueError, "gpus at least 0; got 1, 1, -1"),
        ({"devices": {"metric": "cuda"}}, ValueError, "the metric tile-perceptual-.* can't be moved"),
        ({"address": "nowhere"}, ValueError, "is auto or HOST:PORT, got 'nowhere'"),
        ({"address": "127.0.0.1:1"}, ConnectionError, "no Ray cluster at 127.0.0.1:1: `ray start --head` starts one"),
        ({"address": "auto"}, ConnectionError, "no Ray cluster at auto"),
    ],
)
def test_impossible_settings(
    generator: Generator, metric: Metric, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        collectors(generator, metric, **settings)


@pytest.fixture(scope="module")
def pool(generator: Generator, metric: Metric) -> Iterator[RayCollectors]:
    """For the tests below. A process has one Ray at a time: those that start their own stand above."""
    with collectors(generator, metric, 2) as found:
        yield found


def test_batches_come_back_in_order_whoever_is_first(pool: RayCollectors) -> None:
    pool.submit(batch(lambda: time.sleep(2)))
    for seed in range(4):
        pool.submit(Batch([Policy(time.time)], [seed], [7]))
    found = [pool.next() for _ in range(5)]
    assert [[trace.task_index for trace in traces] for traces in found] == [[0, 1], [0], [1], [2], [3]]


def test_what_the_episodes_raise_is_raised_here_and_nothing_is_tried_again(pool: RayCollectors) -> None:
    def broken() -> None:
        raise FloatingPointError("not finite in round 1")

    for _ in range(3):
        pool.submit(batch(broken))
        with pytest.raises(FloatingPointError, match="not finite in round 1"):
            pool.next()
    pool.submit(batch())
    assert len(pool.next()) == 2
