"""What is measured, in the order in which a cut loses the least."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from experiments.run import say
from experiments.run.clock import Timed, now
from experiments.speed.findings import Findings, machine
from experiments.speed.models import SIZES, operations, save_random, transformer_metric
from steer_env.evaluation.rollout import make_env, rounds
from steer_env.generators import load_generator
from steer_env.generators.diffusion import DiffusionGenerator
from steer_env.generators.stable_diffusion import StableDiffusionGenerator, StableDiffusionXLGenerator
from steer_env.metrics import load_metric
from steer_env.proposals import draw_latents

_PROMPT = "nine small red star"
_EPISODES, _IMAGES, _ROUNDS = 60_000, 10, 4
_CARDS = (1, 8, 64)
_SHORT = 2
"""Steps of a run that isn't counted."""
_ORDER = (
    *("rates", "plain", "eager", "channels_last", "compiled", "steps", "parts", "episodes", "choices", "kernels"),
    *("xl", "autotuned", "hours"),
)


@dataclass
class Plan:
    """How much is measured.

    Args:
        size, xl: names of SIZES.
        batches: images at a time, eager.
        few: of them, where one is enough: those of compiled denoisers, channels-last and whole episodes.
        steps: the usual number, and ``other_steps`` further ones.
        ways: of compiling; ``slow_way`` is tried last, where much time is left, as it may take minutes.
        episodes: at a time, of the embedded model; ``shards`` are batch sizes whose choices are compared.
        xl_batches: of Stable Diffusion XL.
        side: of the large matrices.
    """

    size: str = "sd14"
    xl: str = "sdxl"
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    few: int = 32
    steps: int = 20
    other_steps: tuple[int, ...] = (10, 50)
    ways: tuple[str, ...] = ("default", "reduce-overhead")
    slow_way: str = "max-autotune"
    episodes: tuple[int, ...] = (64, 256)
    shards: tuple[int, ...] = (64, 16)
    xl_batches: tuple[int, ...] = (1, 4, 8)
    side: int = 8192


REHEARSED = Plan("small", "small-xl", (1, 2), 2, 2, (1,), ("eager",), "", (2,), (2, 1), (1,), 512)


@dataclass
class Measures:
    """Everything that is measured on one device, until an end on ``time.monotonic``'s clock.

    ``device`` and ``dtype`` are those of the large models, whose checkpoints the folder receives.
    """

    findings: Findings
    plan: Plan
    device: str
    dtype: str
    end: float
    folder: Path
    best: dict[str, Any] = field(default_factory=dict)
    """The fastest generator so far, its batch and rate; the plain pipeline's rate; and that of episodes."""

    def run(self) -> None:
        """All of it; what fails, or has no time left, is written down as such."""
        for measure in _ORDER:
            name = measure.replace("_", " ")
            if time.monotonic() > self.end and measure != "hours":
                self.findings.add("skipped", what=name, why="the time was up")
                continue
            say(f"{name} …")
            try:
                getattr(self, measure)()
            except Exception as error:
                why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                self.findings.add("skipped", what=name, why=why.replace("|", "/"))
            self._clear()

    def _clear(self) -> None:
        """A card's memory; the machine's is large enough, and looking through it takes a second."""
        if torch.device(self.device).type != "cpu":
            gc.collect()
            torch.cuda.empty_cache()

    @cached_property
    def matrix_rate(self) -> float:
        """Floating-point operations a second of a large matrix product."""
        side = self.plan.side
        one = torch.randn(side, side, device=self.device, dtype=getattr(torch, self.dtype))
        return 2 * side**3 / min(self.again(lambda: one @ one) for _ in range(5))

    def seconds(self, call: Callable[[], Any]) -> float:
        """Of a call."""
        start = now(self.device)
        call()
        return now(self.device) - start

    def again(self, call: Callable[[], Any]) -> float:
        """Seconds of a second call: the first may compile or allocate."""
        call()
        return self.seconds(call)

    def rates(self) -> None:
        """The machine, its rate of multiplying matrices, and that of copying."""
        self.findings.add("machine", **machine(self.device))
        source = torch.empty(2**28 if self.device != "cpu" else 2**22, dtype=torch.uint8, device=self.device)
        copied = 2 * len(source) / min(self.again(source.clone) for _ in range(5))
        denoiser, decoder = operations(SIZES[self.plan.size])
        self.findings.add(
            "rates",
            **{"matrices, TFLOP/s": self.matrix_rate / 1e12, "copies, TB/s": copied / 1e12, "precision": self.dtype},
            **{"a pass, TFLOP": denoiser / 1e12, "decoding, TFLOP": decoder / 1e12},
        )

    @cached_property
    def checkpoint(self) -> Path:
        """Of the large model, with random weights."""
        dtype = getattr(torch, self.dtype)
        return save_random(SIZES[self.plan.size], dtype, self.device, self.folder / self.plan.size)

    def generator(self, xl: bool = False, **options: Any) -> DiffusionGenerator:
        """A generator of the checkpoint."""
        settings = {"steps": self.plan.steps, "device": self.device, "dtype": self.dtype, "max_batch": 128, **options}
        if xl:
            dtype = getattr(torch, self.dtype)
            path = save_random(SIZES[self.plan.xl], dtype, self.device, self.folder / self.plan.xl)
            return StableDiffusionXLGenerator(str(path), **settings)
        return StableDiffusionGenerator(str(self.checkpoint), **settings)

    def image_rate(self, generator: DiffusionGenerator, n: int, steps: int, table: str, what: str) -> None:
        """Images a second, n at a time, written down with all that belongs to it."""
        size = self.plan.xl if table == "xl" else self.plan.size
        latents = draw_latents(list(range(n)), generator.latent_shape).to(generator.device)
        conditioning = generator.encode([_PROMPT] * n)
        generator.steps = min(steps, _SHORT)
        first = self.seconds(lambda: generator.generate(latents, conditioning))
        generator.steps = steps
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        rate = n / self.seconds(lambda: generator.generate(latents, conditioning))
        denoiser, decoder = operations(SIZES[size])
        share = rate * (2 * steps * denoiser + decoder) / self.matrix_rate
        row = {"settings": what, "batch": n, "steps": steps, "images/s": rate, "of the matrix rate": f"{share:.1%}"}
        if table == "images" and (plain := self.best.get("plain")) and steps == self.plan.steps:
            row["ratio to the plain pipeline"] = f"{rate / plain:.2f}"
        if torch.cuda.is_available():
            row["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
        if generator.speed.compile:
            row["compile, s"] = first
        self.findings.add(table, **row)
        if table == "images" and steps == self.plan.steps and rate > self.best.get("rate", 0):
            self.best |= {"rate": rate, "batch": n, "generator": generator, "what": what}

    @cached_property
    def usual(self) -> DiffusionGenerator:
        """Without anything that makes it faster."""
        return self.generator()

    def plain(self) -> None:
        """One image a call of diffusers' pipeline, as its documentation shows."""
        generator = self.usual
        options = {"num_inference_steps": self.plan.steps, "guidance_scale": generator.guidance_scale}
        generator.pipeline(_PROMPT, num_inference_steps=_SHORT)
        self.best["plain"] = rate = 1 / self.seconds(lambda: generator.pipeline(_PROMPT, **options))
        row = {"settings": "plain pipeline", "batch": 1, "steps": self.plan.steps}
        self.findings.add("images", **row, **{"images/s": rate})

    def eager(self) -> None:
        """Batches without anything that makes them faster."""
        generator = self.usual
        for n in self.plan.batches:
            if time.monotonic() < self.end:
                self.image_rate(generator, n, self.plan.steps, "images", "eager")

    def channels_last(self) -> None:
        """The memory format of tensor cores."""
        generator = self.generator(channels_last=True)
        for n in dict.fromkeys((1, self.plan.few, self.plan.batches[-1])):
            self.image_rate(generator, n, self.plan.steps, "images", "channels-last")

    def compiled(self) -> None:
        """Each way of compiling, at one size of batch."""
        for way in self.plan.ways:
            if time.monotonic() < self.end:
                self._compiled(way)

    def autotuned(self) -> None:
        """The way that takes longest to compile, where nothing else can be lost by it."""
        if self.plan.slow_way and self.end - time.monotonic() > 0.3 * 60 * self.findings.minutes:
            self._compiled(self.plan.slow_way)
        elif self.plan.slow_way:
            self.findings.add("skipped", what=f"compiled ({self.plan.slow_way})", why="too little time was left")

    def _compiled(self, way: str) -> None:
        generator = self.generator(channels_last=True, compile=way, max_batch=self.plan.few)
        what = f"channels-last, compiled ({way})"
        self.image_rate(generator, self.plan.few, self.plan.steps, "images", what)

    @property
    def fastest(self) -> DiffusionGenerator:
        """With the fastest settings so far, for the size of batch that was fastest."""
        generator: DiffusionGenerator = self.best.get("generator", self.usual)
        generator.max_batch = self.best.get("batch", 1)
        return generator

    def steps(self) -> None:
        """Other numbers of steps, with the fastest settings."""
        generator = self.fastest
        for steps in self.plan.other_steps:
            self.image_rate(generator, self.best["batch"], steps, "images", self.best["what"])
        generator.steps = self.plan.steps

    def parts(self) -> None:
        """Decoder alone, and DreamSim's architecture."""
        generator, n = self.generator(channels_last=True), self.plan.few
        _, decoder = operations(SIZES[self.plan.size])
        latents = torch.randn(n, *generator.latent_shape, device=self.device, dtype=generator.dtype)
        with torch.inference_mode():
            rate = n / self.again(lambda: generator._decode(latents))
        share = f"{rate * decoder / self.matrix_rate:.1%}"
        self.findings.add("parts", part="decoder", batch=n, **{"images/s": rate, "of the matrix rate": share})
        metric, images = self.metric, torch.rand(n, *generator.image_shape, device=self.device)
        rate = n / self.again(lambda: metric.embed(images))
        self.findings.add("parts", part="three ViT-B/16, as DreamSim's ensemble", batch=n, **{"images/s": rate})

    @cached_property
    def metric(self) -> Any:
        """DreamSim's architecture."""
        return transformer_metric(self.device, getattr(torch, self.dtype), self.plan.size == "small")

    def play(
        self, generator: Any, metric: Any, episodes: int, shard: int = 0, overlap: bool = False
    ) -> tuple[Any, list[np.ndarray]]:
        """Play so many episodes at scale 0.5 in one batch: the environment, and each round's choices and similarity."""
        studio = {"name": "here", "shard": shard, "overlap": overlap}
        env = make_env(episodes, generator=generator, metric=metric, studio=studio, rounds=_ROUNDS, device=self.device)
        index = list(range(episodes))
        seen = []
        for _ in rounds(env, index, index, lambda *_: np.full((episodes, 1), 0.5)):
            assert env.last_outcome is not None
            seen.append(np.stack([env.last_outcome.choices, env.last_outcome.similarity]))
        return env, seen

    def episodes(self) -> None:
        """Whole episodes: the large model with the fastest settings, and the embedded one."""
        few = max(1, self.best.get("batch", 1))
        tiles, perceptual = load_generator("tiles", device=self.device), load_metric(device=self.device)
        made: list[tuple[str, Any, Any, int, bool]]
        made = [(self.plan.size, self.fastest, self.metric, few, False)]
        if torch.device(self.device).type == "cuda":
            made.append((f"{self.plan.size}, embedded beside the next shard", self.fastest, self.metric, few, True))
        made += [("embedded model", tiles, perceptual, n, False) for n in self.plan.episodes]
        for what, model, measured, n, overlap in made:
            generator = Timed(model, self.device, "encode", "generate")
            metric = Timed(measured, self.device, "embed")
            if model is tiles:
                self.play(generator, metric, n)
                generator.seconds = metric.seconds = 0.0
            start = now(self.device)
            env, _ = self.play(generator, metric, n, overlap=overlap)
            seconds = now(self.device) - start
            outside = 1 - (generator.seconds + metric.seconds) / seconds
            rate, images = n / seconds, env.dynamics.studio.images / seconds
            shown = {"episodes at a time": n, "episodes/s": rate, "images/s": images, "overhead": f"{outside:.1%}"}
            self.findings.add("episodes", model=what, **shown, metric=f"{metric.seconds / seconds:.1%} of the time")
            if model is not tiles:
                self.best["episodes"] = max(rate, self.best.get("episodes", 0.0))

    def choices(self) -> None:
        """What changes when the same episodes are played in shards of other sizes."""
        n = self.plan.shards[0]
        for dtype in dict.fromkeys(("float32", self.dtype)):
            tiles = load_generator("tiles", device=self.device, dtype=dtype)
            played = {
                shard: self.play(tiles, load_metric(device=self.device), n, shard)[1] for shard in self.plan.shards
            }
            self._compare(f"embedded model, {dtype}", n, played)
        if time.monotonic() < self.end:
            few = max(2, self.plan.few // 2)
            generator = self.generator(channels_last=True, steps=self.plan.other_steps[0])
            played = {shard: self.play(generator, self.metric, few, shard)[1] for shard in (few, max(1, few // 4))}
            self._compare(f"{self.plan.size}, {self.dtype}", few, played)

    def _compare(self, what: str, episodes: int, played: dict[int, list[np.ndarray]]) -> None:
        first, *others = played
        usual = np.stack(played[first])
        for shard in others:
            other = np.stack(played[shard])
            changed = (usual[:, 0] != other[:, 0]).mean()
            gap = np.abs(usual[-1, 1] - other[-1, 1])
            row = {"episodes": episodes, "shards": f"{first} and {shard}", "choices that differ": f"{changed:.2%}"}
            row |= {"improvement, mean gap": float(gap.mean()), "largest": float(gap.max())}
            self.findings.add("choices", model=what, **row)

    def kernels(self) -> None:
        """What the card does in a pass of the denoiser."""
        generator = self.fastest
        n = self.best.get("batch", 1)
        latents, conditioning = torch.randn(n, *generator.latent_shape).to(self.device), generator.encode([_PROMPT] * n)
        usual, generator.steps = generator.steps, _SHORT
        generator.generate(latents, conditioning)
        cuda = torch.device(self.device).type == "cuda"
        with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as watched:
            generator.generate(latents, conditioning)
        generator.steps = usual
        spent = "self_device_time_total" if cuda else "self_cpu_time_total"
        events = sorted(watched.key_averages(), key=lambda event: -getattr(event, spent))
        total = sum(getattr(event, spent) for event in events)
        for event in events[:12]:
            share = f"{getattr(event, spent) / total:.1%}"
            self.findings.add("kernels", kernel=event.key[:80].replace("|", "/"), calls=event.count, share=share)

    def xl(self) -> None:
        """Stable Diffusion XL's base model."""
        generator = self.generator(xl=True, channels_last=True)
        for n in self.plan.xl_batches:
            if time.monotonic() < self.end:
                self.image_rate(generator, n, self.plan.steps, "xl", "channels-last")

    def hours(self) -> None:
        """What the paper's training would take."""
        if rate := self.best.get("episodes"):
            for cards in _CARDS:
                self.findings.add("hours", cards=cards, hours=_EPISODES / rate / cards / 3600)
