"""How a training scales with its collectors, on simulated GPUs: ``python -m experiments.scaling``."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from agents.episodes import Training
from agents.thompson import ThompsonSampling
from agents.training import train
from conf import schema
from experiments.runs import application, say
from experiments.simulated import IMAGES, Echo, WaitingGenerator
from steer_env.evaluation.collectors import Collectors
from steer_env.evaluation.on_ray import RayCollectors
from steer_env.evaluation.reports import markdown_table
from steer_env.evaluation.rollout import make_env
from steer_env.evaluation.suites import Player
from steer_env.metrics import load_metric
from steer_env.traces import SteeringTrace

schema.register()


@application("scaling")
def main(config: Any) -> None:
    """Train with each number of collectors, in step and one batch behind; then find the coordinator's limit."""
    rate = config.episodes_per_second
    say(f"simulated: a collector waits as long as a GPU that plays {rate:g} episodes/s would compute")
    size = (config.part, config.batches)
    rows = []
    for n in config.counts:
        found = [_rate(n, *size, lag, 1 / rate / IMAGES) for lag in (0, 1)]
        rows.append((n, f"{n * rate:.2f}", *(f"{value:.2f} ({value / n / rate:.0%})" for value in found)))
    columns = ["collectors", "episodes/s at best", "in step", "one batch behind"]
    print(markdown_table(pd.DataFrame(rows, columns=columns)))
    n = max(config.counts)
    limit = _rate(n, config.limit_part, config.limit_batches, 2, 0, Echo)
    needed = config.gpus * rate
    say(f"coordinator (explores, shares out, learns, writes): {limit:.0f} episodes/s, {4 * limit:.0f} decisions/s")
    say(f"  where {n} collectors answer at once, {config.limit_part} episodes at a time, and play nothing;")
    say(f"  {config.gpus} GPUs of {rate:g} episodes/s need {needed:g} episodes/s, {limit / needed:.0f} times less")


class _Watched:
    """Collectors of whom is known when each batch came."""

    def __init__(self, collectors: Collectors) -> None:
        self.capacity, self.submit = collectors.capacity, collectors.submit
        self._collectors = collectors
        self.came: list[float] = []

    def next(self) -> list[SteeringTrace]:
        traces = self._collectors.next()
        self.came.append(time.perf_counter())
        return traces


def _rate(n: int, part: int, batches: int, lag: int, seconds: float, player: type[Player] = Player) -> float:
    """Episodes a second, after a first batch during which collectors start and load."""
    options = {"generator": WaitingGenerator(seconds), "metric": load_metric("pixel-correlation")}
    training = Training((batches + 1) * n * part, 0, parts=n, lag=lag)
    env = make_env(part, **options)
    with tempfile.TemporaryDirectory() as folder, closing(RayCollectors(options, n, player=player)) as pool:
        watched = _Watched(pool)
        train(ThompsonSampling(), env, training, Path(folder), collectors=watched)
    return batches * n * part / (watched.came[-1] - watched.came[n - 1])


if __name__ == "__main__":
    main()
