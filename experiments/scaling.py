"""How a training scales with a studio's workers, on simulated GPUs: ``python -m experiments.scaling``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from agents.episodes import Training
from agents.loggers import NoLogger
from agents.thompson import ThompsonSampling
from agents.training import train
from conf import schema
from experiments.runs import application, say
from experiments.simulated import IMAGES, WaitingGenerator
from steer_env.evaluation.reports import markdown_table
from steer_env.evaluation.rollout import make_env
from steer_env.imaging import close_studios
from steer_env.metrics import load_metric

schema.register()


@application("scaling")
def main(config: Any) -> None:
    """Train with each number of workers; then find the limit of the process that they work for."""
    rate = config.images_per_second
    say(f"simulated: a worker waits as long as a GPU that makes {rate:g} images/s would compute")
    rows = []
    for n in config.counts:
        images = _rate(n, config.shard, config.batches, 1 / rate)
        rows.append((n, f"{n * rate:.2f}", f"{images:.2f} ({images / n / rate:.0%})", f"{images / IMAGES:.2f}"))
    print(markdown_table(pd.DataFrame(rows, columns=["workers", "images/s at best", "images/s", "episodes/s"])))
    most = max(config.counts)
    limit = _rate(most, config.shard, config.limit_batches, 0)
    needed = config.gpus * rate
    say(f"the process that they work for (plays, learns, sends, writes): {limit:.0f} images/s, where {most} workers")
    say(f"  answer at once; {config.gpus} GPUs of {rate:g} images/s need {needed:g}: {limit / needed:.1f} times")


class _Clock(NoLogger):
    """Remembers when each checkpoint was."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def metrics(self, *_: Any) -> None:
        """See :class:`agents.loggers.Logger`."""
        self.times.append(time.perf_counter())


def _rate(n: int, shard: int, batches: int, seconds: float) -> float:
    """Images a second, after a first batch during which workers start and load."""
    options = {"generator": WaitingGenerator(seconds), "metric": load_metric("pixel-correlation")}
    env, clock = make_env(n * shard, studio={"name": "ray", "count": n, "shard": shard}, **options), _Clock()
    training = Training((batches + 1) * n * shard, 0, batches_per_checkpoint=1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(ThompsonSampling(), env, training, Path(folder), clock)
    finally:
        close_studios()
    return batches * n * shard * IMAGES / (clock.times[-1] - clock.times[0])


if __name__ == "__main__":
    main()
