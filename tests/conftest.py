"""What the tests share: the embedded parts, and a generator that counts what it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from examples.your_generator import Blots
from steer_env.compatibility import mend_torchvision
from steer_env.generators import load_generator
from steer_env.metrics import load_metric
from steer_env.registry import Loaded
from steer_env.types import Conditioning, Generator, Metric

mend_torchvision()  # before any test imports diffusers
# Two processes that each want every core all but stop one another.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    share = max(1, (os.cpu_count() or 1) // workers)
    os.environ["OMP_NUM_THREADS"] = str(share)
    torch.set_num_threads(share)
# The clusters of these tests listen on this machine alone. A process keeps to the first of Ray's modes that it meets.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# Ray gives its workers the lowest priority but four, at which they hardly run beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session", autouse=True)
def _composed_once() -> Iterator[None]:
    """Hydra composes a configuration twice, the first time to see a mode that isn't given here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests begin first: a long file that begins last leaves the other cores idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def generator() -> Generator:
    return load_generator("tiles")


@pytest.fixture(scope="session")
def metric() -> Metric:
    return load_metric("tile-perceptual")


BLOTS: dict[str, Any] = {"generator": Blots(), "metric": "pixel-correlation"}
"""Options of an environment whose images cost next to nothing, for tests that don't look at them."""


@pytest.fixture(scope="module")
def blots() -> Iterator[None]:
    """The embedded model makes blots, which cost next to nothing: for commands whose images don't matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_env.generators.LOADED", Loaded())
        patch.setattr("steer_env.tiles.generator.load", lambda **_: Blots())
        patch.setattr(Blots, "fingerprint", lambda blots: blots.id, raising=False)
        yield


class CountingGenerator:
    """The embedded generator, remembering every latent it was given and the size of every call."""

    def __init__(self, inner: Generator, max_batch: int | None = None) -> None:
        self._inner = inner
        self.id, self.device = inner.id, inner.device
        self.latent_shape, self.image_shape = inner.latent_shape, inner.image_shape
        self.max_batch = max_batch or inner.max_batch
        self.latents: list[Tensor] = []
        self.sizes: list[int] = []

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        return self._inner.encode(prompts)

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        self.latents.extend(latents)
        self.sizes.append(len(latents))
        return self._inner.generate(latents, conditioning)


class CountingMetric(Metric):
    """The embedded metric, counting the images it embeds."""

    def __init__(self, inner: Metric) -> None:
        self._inner, self.images = inner, 0
        self.id, self.dimensions = inner.id, inner.dimensions

    def embed(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return self._inner.embed(images)


@pytest.fixture
def counting_generator(generator: Generator) -> CountingGenerator:
    return CountingGenerator(generator)


@pytest.fixture
def counting_metric(metric: Metric) -> CountingMetric:
    return CountingMetric(metric)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """Experiments may set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
