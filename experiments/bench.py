"""How fast the environment is, beside a plain loop over public APIs, in one run: ``python -m experiments.bench``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.run import ProgramOptions, Run, command, option, say
from experiments.run.clock import Timed
from experiments.run.options import PartsOptions
from experiments.run.parts import env_options
from steer_env import assets
from steer_env.compatibility import mend_torchvision, quiet
from steer_env.evaluation.reports import markdown_table
from steer_env.generators import load_generator
from steer_env.metrics import load_metric
from steer_env.proposals import draw_latents
from steer_env.tasks import load_suite
from steer_env.types import Metric, Task

if TYPE_CHECKING:
    from torch import Tensor

    from steer_env.envs import ImageSteeringVectorEnv


@dataclass
class BenchOptions(PartsOptions, ProgramOptions):
    """Measure the environment's speed, and compare it with a loop over public APIs.

    Args:
        sizes: numbers of environments in the batch.
        episodes: fewest episodes timed for each size.
        reference_episodes: episodes of the plain loop, one image and one comparison at a time.
        repeats: how often each is measured; medians are printed.
    """

    sizes: list[int] = option([1, 4, 16, 64], least=1, length=1, unique=True)
    episodes: int = option(64, least=1)
    reference_episodes: int = option(8, least=1)
    repeats: int = option(3, least=1)


@command(BenchOptions)
def main(options: BenchOptions, run: Run) -> None:
    """Measure each size and the reference in turn, several times over; print medians."""
    import torch

    if options.generator.name != "tiles":
        raise ValueError(f"the reference loop plays the embedded generator tiles, not {options.generator.name}")
    env = env_options(options)
    tasks = load_suite(options.env.suite)[: options.reference_episodes]
    metric = load_metric(env["metric"])
    timings: dict[int, list[Timing]] = {n: [] for n in options.sizes}
    rates: list[float] = []
    # Interleaved, so that a machine whose speed drifts doesn't favour one of them.
    for _ in range(options.repeats):
        for n in options.sizes:
            timings[n].append(time_environment(n, options.episodes, **env))
        rates.append(len(tasks) / time_reference(tasks, metric))
    reference = statistics.median(rates)
    rows = [_row(n, measured, rates) for n, measured in timings.items()]
    rows.append(("reference loop", f"{reference:.2f}", f"{reference * 10:.0f}", "", "1.0", ""))
    columns = ["environments", "episodes/s", "images/s", "overhead", "ratio to the loop", "peak MiB so far"]
    say(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.generator.name}, medians")
    print(markdown_table(pd.DataFrame(rows, columns=columns)))


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


def _row(n: int, measured: list[Timing], rates: list[float]) -> tuple[str, ...]:
    ratios = [timing.episodes / timing.seconds / rate for timing, rate in zip(measured, rates, strict=True)]
    return (
        str(n),
        f"{statistics.median(timing.episodes / timing.seconds for timing in measured):.2f}",
        f"{statistics.median(timing.images / timing.seconds for timing in measured):.0f}",
        f"{statistics.median(timing.overhead for timing in measured):.1%}",
        f"{statistics.median(ratios):.1f}",
        f"{measured[0].peak_mebibytes:.0f}",
    )


def time_environment(n: int, episodes: int, **options: Any) -> Timing:
    """Play at least ``episodes`` episodes in batches of n with scale 0.5, after one batch that isn't counted."""
    import resource

    from steer_env.evaluation.rollout import make_env

    model = load_generator(options.pop("generator"))
    generator = Timed(model, model.device, "encode", "generate")
    metric = Timed(load_metric(options.pop("metric")), model.device, "embed")
    env = make_env(n, generator=generator, metric=metric, **options)
    _play(env, 0)
    generator.seconds = metric.seconds = 0.0
    studio = env.dynamics.studio
    before = studio.images
    batches = -(-episodes // n)
    start = time.perf_counter()
    for batch in range(batches):
        _play(env, 1 + batch)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Timing(seconds, generator.seconds, metric.seconds, batches * n, studio.images - before, peak)


def _play(env: ImageSteeringVectorEnv, batch: int) -> None:
    from steer_env.evaluation.rollout import rounds

    index = [(batch * env.num_envs + i) % len(env.suite) for i in range(env.num_envs)]
    for _ in rounds(env, index, index, lambda *_: np.full((env.num_envs, 1), 0.5)):
        pass


class ReferenceLoop:
    """Image steering in its plainest form: one pipeline call an image, one metric call a comparison.

    It plays the embedded model from public APIs alone, and shares no code with the dynamics.
    """

    def __init__(self, metric: Metric, steps: int = 2) -> None:
        mend_torchvision()
        from diffusers import StableDiffusionPipeline

        folder, checker = assets.verified(assets.ROOT / "tiles-generator"), {"requires_safety_checker": False}
        with quiet():
            self._pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, **checker)
        self._pipeline.set_progress_bar_config(disable=True)
        self._metric, self._steps = metric, steps
        config = self._pipeline.unet.config
        self._shape = (config.in_channels, config.sample_size, config.sample_size)

    def image(self, prompt: str, latent: Tensor) -> Tensor:
        """One picture (3, H, W) in [0, 1] from one pipeline call."""
        options = {"num_inference_steps": self._steps, "guidance_scale": 1.0, "output_type": "pt"}
        return self._pipeline(prompt, latents=latent[None], **options).images[0]

    def similarity(self, a: Tensor, b: Tensor) -> float:
        """Both pictures embedded for the comparison."""
        return float(self._metric.similarity(self._metric.embed(a[None]), self._metric.embed(b[None])))

    def episode(self, task: Task, seed: int, scale: float = 0.5, rounds: int = 4, proposals: int = 2) -> float:
        """Play one episode; returns its improvement."""
        import torch

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
                if (similarity := self.similarity(picture, goal)) > best:
                    best, latent, current = similarity, offered, picture
        return self.similarity(current, goal) - first


def time_reference(tasks: Sequence[Task], metric: Metric) -> float:
    """Seconds of the reference loop for an episode on each task, after one that isn't counted."""
    loop = ReferenceLoop(metric)
    loop.episode(tasks[0], 0)
    start = time.perf_counter()
    for seed, task in enumerate(tasks):
        loop.episode(task, seed)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
