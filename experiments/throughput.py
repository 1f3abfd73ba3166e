"""Images a second against the plain pipeline and the hardware: ``python -m experiments.throughput device=cuda``."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from conf import schema
from experiments.random_weights import SIZES, operations, save_random
from experiments.runs import application, say
from experiments.speeds import matrix_rate, ours, plain, seconds
from steer_env.evaluation.reports import markdown_table
from steer_env.generators.speed import Speed
from steer_env.generators.stable_diffusion import StableDiffusionGenerator

schema.register()

_EPISODES, _IMAGES = 60_000, 10


@application("throughput")
def main(config: Any) -> None:
    """Measure each batch size and the plain pipeline in turn; print medians, and what they mean for 60,000 episodes."""
    SIZES[config.size]
    if torch.device(config.device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use here: device=cpu size=small dtype=float32")
    if config.threads:
        torch.set_num_threads(config.threads)
    dtype = getattr(torch, config.dtype)
    with tempfile.TemporaryDirectory() as folder:
        save_random(config.size, dtype, Path(folder))
        given = (config.steps, config.guidance_scale, min(config.batches) and max(config.batches))
        speed = {part.name: config[part.name] for part in fields(Speed)}
        generator, reference = (
            StableDiffusionGenerator(folder, *given, config.device, config.dtype, **told) for told in (speed, {})
        )
    batches = [n or generator.max_batch for n in config.batches]
    calls = {n: ours(generator, n) for n in batches}
    found: dict[int, list[float]] = {n: [] for n in batches}
    rates: list[float] = []
    # Interleaved, so that a machine whose speed drifts doesn't favour one of them.
    for _ in range(config.repeats):
        rates.append(1 / seconds(plain(reference), config.device))
        for n, call in calls.items():
            found[n].append(n / seconds(call, config.device))
    _print(config, found, rates, matrix_rate(config.device, dtype))


def _print(config: Any, found: dict[int, list[float]], reference: list[float], rate: float) -> None:
    denoiser, decoder = operations(config.size)
    cost = config.steps * denoiser * (2 if config.guidance_scale > 1 else 1) + decoder
    rows = []
    for n, rates in found.items():
        images = statistics.median(rates)
        ratio = statistics.median(one / other for one, other in zip(rates, reference, strict=True))
        rows.append((str(n), f"{images:.2f}", f"{images / _IMAGES:.3f}", f"{ratio:.1f}", f"{images * cost / rate:.1%}"))
    rows.append(("plain pipeline", f"{statistics.median(reference):.2f}", "", "1.0", ""))
    columns = ["batch", "images/s", "episodes/s", "ratio to the plain pipeline", "of the matrix rate"]
    card = torch.cuda.get_device_name() if torch.device(config.device).type == "cuda" else config.device
    say(f"{card}, torch {torch.__version__}, {config.size}, {config.dtype}, {config.steps} steps; an image takes")
    say(f"{cost / 1e12:.3g} TFLOP, counted; large matrices are multiplied at {rate / 1e12:.3g} TFLOP/s, measured")
    say(", ".join(f"{part.name}={config[part.name]}" for part in fields(Speed)))
    print(markdown_table(pd.DataFrame(rows, columns=columns)))
    hours = _EPISODES * _IMAGES / max(statistics.median(rates) for rates in found.values()) / 3600
    say(f"60,000 episodes of {_IMAGES} images would take {hours:.3g} h on one such device, {hours / 8:.3g} h on eight")


if __name__ == "__main__":
    main()
