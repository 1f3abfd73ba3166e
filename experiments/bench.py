"""How fast the environment is, beside a plain loop over public APIs, in one run: ``python -m experiments.bench``."""

from __future__ import annotations

import statistics
from typing import Any

import pandas as pd
import torch

from conf import schema
from experiments.runs import application, console, env_options
from experiments.timing import Timing, time_environment, time_reference
from steer_env.evaluation.reports import markdown_table
from steer_env.metrics import load_metric
from steer_env.tasks import load_suite

schema.register()


@application("bench")
def main(config: Any) -> None:
    """Measure each size and the reference in turn, several times over; print medians."""
    if config.env.generator != "tiles":
        raise ValueError(f"the reference loop plays the embedded generator 'tiles', not {config.env.generator!r}")
    if config.threads:
        torch.set_num_threads(config.threads)
    options = env_options(config)
    tasks = load_suite(config.env.suite)[: config.reference_episodes]
    metric = load_metric(options["metric"])
    timings: dict[int, list[Timing]] = {n: [] for n in config.sizes}
    rates: list[float] = []
    # Interleaved, so that a machine whose speed drifts doesn't favour one of them.
    for _ in range(config.repeats):
        for n in config.sizes:
            timings[n].append(time_environment(n, config.episodes, **options))
        seconds, episodes = time_reference(tasks, metric)
        rates.append(episodes / seconds)
    reference = statistics.median(rates)
    rows = [_row(n, found, rates) for n, found in timings.items()]
    rows.append(("reference loop", f"{reference:.2f}", f"{reference * 10:.0f}", "", "1.0", ""))
    columns = ["environments", "episodes/s", "images/s", "overhead", "ratio to the loop", "peak MiB so far"]
    console.print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {config.env.generator}, medians")
    print(markdown_table(pd.DataFrame(rows, columns=columns)))


def _row(n: int, found: list[Timing], rates: list[float]) -> tuple[str, ...]:
    ratios = [timing.episodes / timing.seconds / rate for timing, rate in zip(found, rates, strict=True)]
    return (
        str(n),
        f"{statistics.median(timing.episodes / timing.seconds for timing in found):.2f}",
        f"{statistics.median(timing.images / timing.seconds for timing in found):.0f}",
        f"{statistics.median(timing.overhead for timing in found):.1%}",
        f"{statistics.median(ratios):.1f}",
        f"{found[0].peak_mebibytes:.0f}",
    )


if __name__ == "__main__":
    main()
