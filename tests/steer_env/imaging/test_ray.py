"""A studio on a Ray that is started for it, on this machine."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from examples.your_generator import Blots
from experiments import evaluate, train
from steer_env.imaging import close_studios, make_studio
from steer_env.imaging.options import RayOptions
from steer_env.imaging.studio import LocalStudio
from steer_env.metrics import load_metric
from steer_env.traces import read_traces
from steer_env.types import Conditioning, Generator, Metric
from tests.conftest import CountingGenerator

MIB = 2**20
SHARD = 3
PICTURES = [(f"a {colour} star", seed) for seed, colour in enumerate(["red", "red", "blue", "green"] * 2)]


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "steer_env.imaging.ray", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'steer-env\[ray\]'"):
        import_module("steer_env.imaging.ray")


def test_the_page_about_ray_names_options_that_exist() -> None:
    page = (Path(__file__).parents[3] / "docs" / "ray.md").read_text()
    assert set(re.findall(r"studio\.(\w+)", page)) == {f.name for f in fields(RayOptions)}


class Wrapped(CountingGenerator):
    """The embedded generator, to which something happens before it makes images, in the process that makes them."""

    def __init__(self, inner: Generator, happens: Callable[[], None] = lambda: None) -> None:
        super().__init__(inner)
        self._happens = happens

    def generate(self, latents: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        self._happens()
        return super().generate(latents, conditioning)


class Heavy(Wrapped):
    """With 256 MiB of weights, of which it reads every one."""

    def __init__(self, inner: Generator) -> None:
        super().__init__(inner, lambda: time.sleep(0.5))
        self.weights = torch.ones(64 * MIB)

    def generate(self, latents: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        assert self.weights.sum() == len(self.weights)
        return super().generate(latents, conditioning)


def studio(generator: Any, metric: Metric, count: int = 1, shard: int = SHARD, **settings: Any) -> Any:
    pytest.importorskip("ray", reason="needs the extra ray")
    judges = {"pixels": load_metric("pixel-correlation")}
    return make_studio({"name": "ray", "count": count, "shard": shard, **settings}, generator, metric, judges)


def picture(made: Any, keep_images: bool = False, rows: Sequence[int] = range(8)) -> Any:
    latents, conditioning = made.prepare(PICTURES)
    return made.picture(latents[list(rows)], conditioning, "a test", torch.tensor(rows, dtype=torch.int64), keep_images)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """As workers with one CPU have."""
    torch.set_num_threads(1)


class TestNoWorkers:
    @pytest.mark.slow
    def test_what_cant_be_had_is_an_error_that_says_what_there_is(self, generator: Generator, metric: Metric) -> None:
        try:
            with pytest.raises(ConnectionError, match=r"for 1 s: .* has 1 CPUs, 0 GPUs, and each of 1 .* 1 GPUs"):
                picture(studio(generator, metric, gpus=1, patience=1))
        finally:
            close_studios()

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"count": 0}, ValueError, "count must be from 1 to 65536, got 0"),
            ({"gpus": -1}, ValueError, "gpus must be from 0 to 65536, got -1"),
            ({"shard": -1}, ValueError, "shard must be from 0 to 65536, got -1"),
            ({"address": "nowhere"}, ValueError, "is auto or HOST:PORT, got 'nowhere'"),
            ({"address": "127.0.0.1:1"}, ConnectionError, "no Ray cluster at 127.0.0.1:1: `ray start --head` starts"),
            ({"address": "auto"}, ConnectionError, "no Ray cluster at auto"),
        ],
    )
    def test_impossible_settings(
        self,
        generator: Generator,
        metric: Metric,
        settings: dict[str, Any],
        error: type[Exception],
        message: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Other tests may have a cluster on this machine.
        monkeypatch.setattr("ray._private.services.find_gcs_addresses", lru_cache(lambda: set[str]()))
        with pytest.raises(error, match=message):
            studio(generator, metric, **settings)

    def test_a_generator_that_cant_be_moved_has_no_use_for_a_gpu(self, generator: Generator, metric: Metric) -> None:
        with pytest.raises(ValueError, match=r"the generator tiles-.* can't be moved to a GPU"):
            studio(Wrapped(generator), metric, gpus=1)


@pytest.fixture(scope="module")
def pool(generator: Generator, metric: Metric) -> Iterator[Any]:
    """For the tests below: a process has one Ray at a time, and it takes long to start."""
    yield studio(generator, metric, 2)
    close_studios()


@pytest.mark.slow
class TestOneForAll:
    def test_models_are_in_memory_once(self, pool: Any, generator: Generator, metric: Metric) -> None:
        picture(studio(Heavy(generator), metric, 2))
        started = psutil.Process().children(recursive=True)
        workers = [process for process in started if "ray::_Worker" in " ".join(process.cmdline())]
        memory = [process.memory_full_info() for process in workers]
        assert len(memory) == 2
        for one in memory:
            assert one.shared > 256 * MIB
            assert one.uss < one.rss - 256 * MIB

    @pytest.mark.parametrize("keep_images", [False, True])
    @pytest.mark.parametrize("rows", [range(8), [3, 3, 0, 7, 7, 7, 1], []])
    def test_images_are_those_of_one_process_to_the_last_digit(
        self, pool: Any, generator: Generator, metric: Metric, rows: Sequence[int], keep_images: bool
    ) -> None:
        alone = LocalStudio(generator, metric, {"pixels": load_metric("pixel-correlation")}, shard=SHARD)
        rows = list(rows)
        (ours, images), (theirs, others) = (picture(made, keep_images, rows) for made in (alone, pool))
        assert ours.keys() == theirs.keys() == {"", "pixels"}
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert (images is None, others is None) == (not keep_images,) * 2
        assert not keep_images or torch.equal(images, others)

    def test_guidance_is_sent_too(self, pool: Any, generator: Any, metric: Metric) -> None:
        latents, _ = pool.prepare(PICTURES[:4])
        conditioning = generator.encode_guided([prompt for prompt, _ in PICTURES[:4]], [1.0, 2.0, 3.0, 2.0])
        found = [
            made.picture(latents, conditioning, "a test")[0][""]
            for made in (pool, LocalStudio(generator, metric, shard=SHARD))
        ]
        assert torch.equal(*found)

    def test_a_metric_that_comes_later_embeds_where_it_is_named(self, pool: Any) -> None:
        other = load_metric("pixel-correlation", grid=4)
        name = pool.name_of(other)
        assert name == pool.name_of(other) not in pool.metrics
        latents, conditioning = pool.prepare(PICTURES[:2])
        found, _ = pool.picture(latents, conditioning, "a test", metrics=[name])
        assert {key: tuple(values.shape) for key, values in found.items()} == {name: (2, other.dimensions)}

    def test_shards_come_back_in_order_whoever_is_first(self, pool: Any, generator: Generator, metric: Metric) -> None:
        slow = studio(Wrapped(generator, _sleep_if_first), metric, 2)
        found, _ = picture(slow)
        assert torch.equal(found[""], picture(pool)[0][""])

    def test_what_is_raised_elsewhere_is_raised_here_and_nothing_is_tried_again(
        self, pool: Any, generator: Generator, metric: Metric
    ) -> None:
        broken = studio(Wrapped(generator, _raise), metric, 2)
        for _ in range(3):
            with pytest.raises(FloatingPointError, match="not finite in round 1"):
                picture(broken)
        assert len(picture(pool)[0][""]) == 8

    def test_other_settings_need_an_end_of_the_first(self, pool: Any, generator: Generator, metric: Metric) -> None:
        with pytest.raises(RuntimeError, match="has a studio on Ray with other settings"):
            studio(generator, metric, 3)

    def test_commands_give_the_same_whoever_makes_the_images(
        self, pool: Any, tmp_path: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Commands end the workers, which others need here. The package's own attribute of this name is the function.
        ended: list[None] = []
        monkeypatch.setattr(sys.modules["experiments.run.command"], "close_studios", lambda: ended.append(None))
        small = ("threads=1", "env.rounds=2", "env.proposals=1", "generator.steps=1", "studio.shard=3")
        for name in ("here", "ray"):
            folder, own = tmp_path / name, (*small, f"studio={name}")
            goals = f"env.goal_bank={folder / 'goals'}"
            command(train.main, f"folder={folder / 'train'}", "episodes=8", "batch=4", goals, *own)
            policies = "policies=[random-bucket,text:blind,published]"
            command(evaluate.main, f"folder={folder / 'table'}", "tasks=3", "strips=1", policies, *own)
        assert len(ended) == 4
        here, elsewhere = (
            {
                path.relative_to(tmp_path / name): read_traces(path) if path.suffix == ".parquet" else path.read_bytes()
                for path in (tmp_path / name).rglob("*")
                if path.suffix in (".parquet", ".json", ".safetensors", ".md")
            }
            for name in ("here", "ray")
        )
        assert here == elsewhere
        assert sum(path.suffix == ".safetensors" for path in here) > 8

    def test_a_shard_that_ends_every_worker_is_an_error(self, pool: Any) -> None:
        """With parts that a new worker has soon."""
        broken = studio(Wrapped(Blots(), lambda: os._exit(1)), load_metric("pixel-correlation"), 2)
        with pytest.raises(ConnectionError, match="3 workers were lost in a row"):
            picture(broken, rows=range(SHARD))


def _sleep_if_first() -> None:
    """The first shard of a process takes longest."""
    time.sleep(0 if "SLEPT" in os.environ else 1)
    os.environ["SLEPT"] = "yes"


def _raise() -> None:
    raise FloatingPointError("not finite in round 1")
