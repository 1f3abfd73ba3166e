"""Commands again and again in one process: do memory, descriptors and threads stay as they are?"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import psutil  # type: ignore[import-untyped]
from hydra.core.global_hydra import GlobalHydra
from matplotlib.figure import Figure

from experiments.attack.workers import command
from steer_env.evaluation import plots
from steer_env.files import write_atomically

SMALL = ("env.rounds=1", "env.proposals=1", "overwrite=true")
_GROWTH = 1.02
"""Memory that may be used at the end, as a share of what was used after the first quarter."""


@dataclass(frozen=True)
class Sample:
    """What the process holds at a time.

    Args:
        minutes: since the start.
        rounds: of the commands, so far.
        memory: resident, in MiB.
        descriptors: of open files.
        threads: of the process.
    """

    minutes: float
    rounds: int
    memory: float
    descriptors: int
    threads: int


def soak(minutes: float, share: float, folder: Path) -> list[Sample]:
    """Train and evaluate for so long, with pauses, and look after each time.

    Args:
        minutes: in all.
        share: of a core, at most.
        folder: receives what the commands leave, deleted each time, and ``soak.csv``.
    """
    process, start, samples = psutil.Process(), time.monotonic(), list[Sample]()
    worked = time.process_time()
    while (now := (time.monotonic() - start) / 60) < minutes or not samples:
        samples.append(
            Sample(now, len(samples), process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())
        )
        write_atomically(folder / "soak.csv", pd.DataFrame([asdict(sample) for sample in samples]).to_csv(index=False))
        _once(folder / "soaked", len(samples))
        time.sleep(max(0.0, (time.process_time() - worked) / share - (time.monotonic() - start)))
    return samples


def _once(folder: Path, seed: int) -> None:
    arguments, run = sys.argv, folder / "run"
    state = dict(GlobalHydra.instance().__dict__)
    try:
        for name, options in (
            ("train", [f"folder={run}", "episodes=4", "batch=2", f"seed={seed}"]),
            ("evaluate", [f"folder={folder / 'table'}", f"policies=[random-bucket,{run}]", "tasks=2", "strips=1"]),
        ):
            GlobalHydra.instance().clear()
            command(name, [*options, *SMALL])
    finally:
        GlobalHydra.instance().__dict__.update(state)
        sys.argv = arguments
        shutil.rmtree(folder, ignore_errors=True)


def curve(samples: Sequence[Sample]) -> Figure:
    """Memory, descriptors and threads over time."""
    figure, axes = plots.canvas(7, 5, 3, sharex=True)
    minutes = [sample.minutes for sample in samples]
    for place, (name, label) in enumerate((("memory", "memory, MiB"), ("descriptors", "open files"), ("threads",) * 2)):
        axes[place].plot(minutes, [getattr(sample, name) for sample in samples], lw=1)
        axes[place].set_ylabel(label)
        axes[place].set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")
    return figure


def grown(samples: list[Sample]) -> list[str]:
    """What isn't flat after the first quarter, in words: means of the second quarter, and of the last."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples[-1:], samples[-quarter:]
    complaints = []
    for name, factor in (("memory", _GROWTH), ("descriptors", 1.0), ("threads", 1.0)):
        before, after = (sum(getattr(sample, name) for sample in part) / len(part) for part in (early, late))
        if after > before * factor + (factor == 1.0) * 0.5:
            complaints.append(f"{name} grew from {before:.1f} to {after:.1f}")
    return complaints
