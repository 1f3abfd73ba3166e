"""How a training scales with its collectors, on simulated GPUs: ``python -m experiments.scaling``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.run import ProgramOptions, Run, command, option, say

if TYPE_CHECKING:
    from torch import Tensor

    from steer_env.evaluation.collectors import Batch, Collectors
    from steer_env.traces import SteeringTrace
    from steer_env.types import Conditioning

IMAGES = 10
"""Of an episode with 4 rounds of 2 proposals, its goal and its first image among them."""


@dataclass
class ScalingOptions(ProgramOptions):
    """Measure how a training scales with its collectors, and how much its coordinator can take.

    No GPU is needed: each collector's generator waits as long as a given GPU would compute, and makes no true image.
    For the coordinator's own limit, collectors answer at once with the same episodes over and over.

    Args:
        counts: numbers of collectors.
        episodes_per_second: of the GPU that each stands for.
        batches: timed for each number.
        part: episodes that a collector plays at a time.
        limit_part: the same while the coordinator's limit is timed, with the largest number of collectors.
        limit_batches: batches that it is timed on.
        gpus: of the cluster whose need the limit is compared with.
    """

    counts: list[int] = option([1, 2, 4], least=1, length=1, unique=True)
    episodes_per_second: float = option(2.0, least=1e-3)
    batches: int = option(4, least=1)
    part: int = option(8, least=1)
    limit_part: int = option(32, least=1)
    limit_batches: int = option(400, least=1)
    gpus: int = option(64, least=1)


@command(ScalingOptions)
def main(options: ScalingOptions, run: Run) -> None:
    """Train with each number of collectors, in step and one batch behind; then find the coordinator's limit."""
    from steer_env.evaluation.reports import markdown_table

    speed = options.episodes_per_second
    say(f"simulated: a collector waits as long as a GPU that plays {speed:g} episodes/s would compute")
    rows = []
    for n in options.counts:
        rates = [rate(n, options.part, options.batches, lag, 1 / speed / IMAGES) for lag in (0, 1)]
        rows.append((n, f"{n * speed:.2f}", *(f"{value:.2f} ({value / n / speed:.0%})" for value in rates)))
    columns = ["collectors", "episodes/s at best", "in step", "one batch behind"]
    print(markdown_table(pd.DataFrame(rows, columns=columns)))
    n, needed = max(options.counts), options.gpus * speed
    limit = rate(n, options.limit_part, options.limit_batches, 2, 0, Echo)
    say(f"coordinator (explores, shares out, learns, writes): {limit:.0f} episodes/s, {4 * limit:.0f} decisions/s")
    say(f"  where {n} collectors answer at once, {options.limit_part} episodes at a time, and play nothing;")
    say(f"  {options.gpus} GPUs of {speed:g} episodes/s need {needed:g} episodes/s, {limit / needed:.0f} times less")


class WaitingGenerator:
    """Waits for each image as long as a GPU would compute, and gives a few pixels of the latent for it.

    Args:
        seconds: for an image, whatever the size of the batch.
    """

    max_batch = 10_000
    latent_shape, image_shape = (4, 8, 8), (3, 8, 8)

    def __init__(self, seconds: float) -> None:
        import torch

        self._seconds, self.id, self.device = seconds, f"waits {seconds:g} s an image", torch.device("cpu")

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts mean nothing to it."""
        import torch

        return {"none": torch.zeros(len(prompts), 1)}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """See :class:`steer_env.types.Generator`."""
        time.sleep(self._seconds * len(latents))
        return latents[:, :3].sigmoid()


class Echo:
    """A player that answers every batch with the episodes of the first, and plays no other."""

    def __init__(self, **options: Any) -> None:
        from steer_env.evaluation.suites import Player

        self._play, self._played = Player(**options), list[Any]()

    def __call__(self, batch: Batch) -> list[SteeringTrace]:
        """As many traces as the batch has tasks."""
        self._played = self._played or self._play(batch)
        return self._played


class _Watched:
    """Collectors that note when each batch came."""

    def __init__(self, collectors: Collectors) -> None:
        self.capacity, self.submit = collectors.capacity, collectors.submit
        self._collectors = collectors
        self.came: list[float] = []

    def next(self) -> list[SteeringTrace]:
        traces = self._collectors.next()
        self.came.append(time.perf_counter())
        return traces


def rate(n: int, part: int, batches: int, lag: int, seconds: float, player: Any = None) -> float:
    """Episodes a second of a training with n collectors, after a first batch during which they start and load.

    Args:
        n: number of collectors.
        part: episodes that each plays at a time.
        batches: how many are timed.
        lag: of the posterior, in batches.
        seconds: for an image.
        player: what plays in each process; if None, what does so in every training.
    """
    from agents.episodes import Training
    from agents.thompson import ThompsonSampling
    from agents.training import train
    from steer_env.evaluation.on_ray import RayCollectors
    from steer_env.evaluation.rollout import make_env
    from steer_env.evaluation.suites import Player
    from steer_env.metrics import load_metric

    options = {"generator": WaitingGenerator(seconds), "metric": load_metric("pixel-correlation")}
    training = Training((batches + 1) * n * part, 0, parts=n, lag=lag)
    env = make_env(part, **options)
    with tempfile.TemporaryDirectory() as folder, closing(RayCollectors(options, n, player=player or Player)) as pool:
        watched = _Watched(pool)
        train(ThompsonSampling(), env, training, Path(folder), collectors=watched)
    return batches * n * part / (watched.came[-1] - watched.came[n - 1])


if __name__ == "__main__":
    main()
