"""How fast the environment is, beside a plain loop over public APIs, in one run: ``python -m experiments.bench``."""

from __future__ import annotations

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
    measured: list[dict[str, Any]] = []
    # Interleaved, so that a machine whose speed drifts doesn't favour one of them.
    for _ in range(options.repeats):
        timed = {n: time_environment(n, options.episodes, **env) for n in options.sizes}
        rate = len(tasks) / time_reference(tasks, metric)
        measured += [{"environments": n, **each, RATIO: each["episodes/s"] / rate} for n, each in timed.items()]
        measured.append({"environments": "reference loop", "episodes/s": rate, "images/s": 10 * rate, RATIO: 1.0})
    medians = pd.DataFrame(measured).groupby("environments", sort=False).median()
    shown = pd.DataFrame(
        {name: ["" if np.isnan(x) else format(x, digits) for x in medians[name]] for name, digits in COLUMNS.items()}
    )
    say(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.generator.name}, medians")
    print(markdown_table(pd.concat([medians.index.to_frame(index=False).astype(str), shown], axis=1)))


RATIO = "ratio to the loop"
COLUMNS = {"episodes/s": ".2f", "images/s": ".0f", "overhead": ".1%", RATIO: ".1f", "peak MiB so far": ".0f"}
"""What is measured, and its digits. Overhead is the share of the time outside generator and metric."""


def time_environment(n: int, episodes: int, **options: Any) -> dict[str, float]:
    """Play at least ``episodes`` episodes in batches of n with scale 0.5, after one batch that isn't counted.

    Returns:
        What :data:`COLUMNS` name, but for the ratio.
    """
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
    return {
        "episodes/s": batches * n / seconds,
        "images/s": (studio.images - before) / seconds,
        "overhead": 1 - (generator.seconds + metric.seconds) / seconds,
        "peak MiB so far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


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
