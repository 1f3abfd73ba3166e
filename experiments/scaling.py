"""How a training scales with a studio's workers, on simulated GPUs: ``python -m experiments.scaling``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.run import ProgramOptions, Run, command, option, say
from steer_env.evaluation.reports import markdown_table
from steer_env.imaging import close_studios
from steer_env.metrics import load_metric
from steer_env.types import Conditioning

if TYPE_CHECKING:
    from torch import Tensor


IMAGES = 10
"""Of an episode with 4 rounds of 2 proposals, its goal and its first image among them."""


@dataclass
class ScalingOptions(ProgramOptions):
    """Measure how a training scales with a studio's workers, and how much the process that they work for can take.

    No GPU is needed: each worker's generator waits as long as a given GPU would compute, and makes no true image, from
    latents and prompts of the sizes of Stable Diffusion 1.4's. For the limit, workers answer at once.

    Args:
        counts: numbers of workers.
        images_per_second: of the GPU that each stands for.
        batches: timed for each number.
        shard: images that a worker makes at a time; it makes as many shards a round as there are proposals.
        limit_batches: batches that the limit is timed on, with the largest number of workers.
        gpus: of the cluster whose need the limit is compared with.
    """

    counts: list[int] = option([1, 2, 4], least=1, length=1, unique=True)
    images_per_second: float = option(20.0, least=1e-2)
    batches: int = option(4, least=1)
    shard: int = option(16, least=1)
    limit_batches: int = option(20, least=1)
    gpus: int = option(64, least=1)


@command(ScalingOptions)
def main(options: ScalingOptions, run: Run) -> None:
    """Train with each number of workers; then find the limit of the process that they work for."""
    speed = options.images_per_second
    say(f"simulated: a worker waits as long as a GPU that makes {speed:g} images/s would compute")
    rows = []
    for n in sorted(options.counts):
        close_studios()
        images = rate(n, options.shard, options.batches, 1 / speed)
        rows.append((n, f"{n * speed:.2f}", f"{images:.2f} ({images / n / speed:.0%})", f"{images / IMAGES:.2f}"))
    print(markdown_table(pd.DataFrame(rows, columns=["workers", "images/s at best", "images/s", "episodes/s"])))
    n, needed = max(options.counts), options.gpus * speed
    limit = rate(n, options.shard, options.limit_batches, 0)
    say(f"the process that they work for (plays, learns, sends, writes): {limit:.0f} images/s, where {n} workers")
    say(f"  answer at once; {options.gpus} GPUs of {speed:g} images/s need {needed:g}: {limit / needed:.1f} times")


class WaitingGenerator:
    """Waits so many seconds for each image, as a GPU would compute, and gives a few pixels of the latent for it."""

    max_batch = 10_000
    latent_shape, image_shape = (4, 64, 64), (3, 8, 8)

    def __init__(self, seconds: float) -> None:
        import torch

        self._seconds, self.id, self.device = seconds, f"waits {seconds:g} s an image", torch.device("cpu")

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts mean nothing to it."""
        import torch

        return {"prompt_embeds": torch.zeros(len(prompts), 77, 768)}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """See :class:`steer_env.types.Generator`."""
        time.sleep(self._seconds * len(latents))
        return latents[:, :3, :8, :8].sigmoid()


def rate(n: int, shard: int, batches: int, seconds: float) -> float:
    """Images a second of a training with n workers, after a first batch during which they start and load."""
    from agents.episodes import Training
    from agents.loggers import Logger
    from agents.thompson import ThompsonSampling
    from agents.training import train
    from steer_env.evaluation.rollout import make_env

    times: list[float] = []

    class Clock(Logger):
        def metrics(self, *_: Any) -> None:
            times.append(time.perf_counter())

    parts = {"generator": WaitingGenerator(seconds), "metric": load_metric("pixel-correlation")}
    env = make_env(n * shard, studio={"name": "ray", "count": n, "shard": shard}, **parts)
    training = Training((batches + 1) * n * shard, 0, batches_per_checkpoint=1)
    with tempfile.TemporaryDirectory() as folder:
        train(ThompsonSampling(), env, training, Path(folder), Clock())
    return batches * n * shard * IMAGES / (times[-1] - times[0])


if __name__ == "__main__":
    main()
