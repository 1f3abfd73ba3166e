"""What the benchmark measures: the vector environment with its parts' clocks running, and a plain reference loop."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steer_env import assets
from steer_env.compatibility import mend_torchvision
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import make_env, rounds
from steer_env.generators import load_generator
from steer_env.metrics import load_metric
from steer_env.proposals import draw_latents
from steer_env.types import Conditioning, Generator, Metric, Task


@dataclass(frozen=True)
class Timing:
    """One measurement: seconds in all, in the generator, in the metric; images made; peak memory of the process."""

    seconds: float
    generator_seconds: float
    metric_seconds: float
    episodes: int
    images: int
    peak_mebibytes: float

    @property
    def overhead(self) -> float:
        """Share of the time spent outside generator and metric."""
        return 1 - (self.generator_seconds + self.metric_seconds) / self.seconds


class _Clock:
    def __init__(self, device: Any) -> None:
        self.seconds, self._cuda = 0.0, torch.device(device).type == "cuda"

    def __enter__(self) -> None:
        self._start = self._now()

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self._start

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


class TimedGenerator:
    """A generator that counts its seconds."""

    def __init__(self, inner: Generator) -> None:
        self._inner, self.clock = inner, _Clock(inner.device)
        self.id, self.latent_shape, self.image_shape = inner.id, inner.latent_shape, inner.image_shape
        self.max_batch, self.device = inner.max_batch, inner.device

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        with self.clock:
            return self._inner.encode(prompts)

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        with self.clock:
            return self._inner.generate(latents, conditioning)


class TimedMetric:
    """A metric that counts its seconds."""

    def __init__(self, inner: Metric, device: Any) -> None:
        self._inner, self.clock = inner, _Clock(device)
        self.id, self.dimensions = inner.id, inner.dimensions

    def embed(self, images: Tensor) -> Tensor:
        with self.clock:
            return self._inner.embed(images)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return self._inner.similarity(a, b)


def time_environment(n: int, episodes: int, **options: Any) -> Timing:
    """Play at least ``episodes`` episodes in batches of n with scale 0.5, after one batch that isn't counted."""
    generator = TimedGenerator(load_generator(options.pop("generator"), **options.pop("generator_options")))
    metric = TimedMetric(load_metric(options.pop("metric"), **options.pop("metric_options")), generator.device)
    env = make_env(n, generator=generator, metric=metric, **options)
    _play(env, 0)
    generator.clock.seconds = metric.clock.seconds = 0.0
    studio = env.dynamics.studio
    before = studio.images
    batches = -(-episodes // n)
    start = time.perf_counter()
    for batch in range(batches):
        _play(env, 1 + batch)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    images = studio.images - before
    return Timing(seconds, generator.clock.seconds, metric.clock.seconds, batches * n, images, peak)


def _play(env: ImageSteeringVectorEnv, batch: int) -> None:
    index = [(batch * env.num_envs + i) % len(env.suite) for i in range(env.num_envs)]
    for _ in rounds(env, index, index, lambda *_: np.full((env.num_envs, 1), 0.5)):
        pass


class ReferenceLoop:
    """Image steering as one would first write it: one pipeline call an image, one metric call a comparison.

    It plays the embedded model from public APIs alone, and shares no code with the dynamics.
    """

    def __init__(self, metric: Metric, steps: int = 2) -> None:
        mend_torchvision()
        from diffusers import StableDiffusionPipeline

        folder = assets.verified(assets.ROOT / "tiles-generator")
        self._pipeline = StableDiffusionPipeline.from_pretrained(
            folder, safety_checker=None, requires_safety_checker=False
        )
        self._pipeline.set_progress_bar_config(disable=True)
        self._metric, self._steps = metric, steps
        config = self._pipeline.unet.config
        self._shape = (config.in_channels, config.sample_size, config.sample_size)

    def image(self, prompt: str, latent: Tensor) -> Tensor:
        """One picture (3, H, W) in [0, 1] from one pipeline call."""
        output = self._pipeline(
            prompt, latents=latent[None], num_inference_steps=self._steps, guidance_scale=1.0, output_type="pt"
        )
        return output.images[0]

    def similarity(self, a: Tensor, b: Tensor) -> float:
        """Both pictures embedded for the comparison."""
        return float(self._metric.similarity(self._metric.embed(a[None]), self._metric.embed(b[None])))

    def episode(self, task: Task, seed: int, scale: float = 0.5, rounds: int = 4, proposals: int = 2) -> float:
        """Play one episode; returns its improvement."""
        noise = torch.Generator().manual_seed(seed)
        goal_latent, latent = draw_latents([task.goal_seed, task.initial_seed], self._shape)
        goal, current = self.image(task.goal_prompt, goal_latent), self.image(task.prompt, latent)
        first = self.similarity(current, goal)
        norm = (scale**2 + (1 - scale) ** 2) ** 0.5
        for _ in range(rounds):
            best = self.similarity(current, goal)
            centre = latent
            for _ in range(proposals):
                offered = ((1 - scale) * centre + scale * torch.randn(self._shape, generator=noise)) / norm
                picture = self.image(task.prompt, offered)
                if (found := self.similarity(picture, goal)) > best:
                    best, latent, current = found, offered, picture
        return self.similarity(current, goal) - first


def time_reference(tasks: Sequence[Task], metric: Metric) -> tuple[float, int]:
    """Seconds and episodes of the reference loop over some tasks, after one that isn't counted."""
    loop = ReferenceLoop(metric)
    loop.episode(tasks[0], 0)
    start = time.perf_counter()
    for seed, task in enumerate(tasks):
        loop.episode(task, seed)
    return time.perf_counter() - start, len(tasks)
