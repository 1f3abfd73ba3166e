"""Commands again and again in one process: do memory, descriptors and threads stay as they are?"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pandas as pd
import psutil  # type: ignore[import-untyped]
from hydra.core.global_hydra import GlobalHydra
from matplotlib.figure import Figure

from experiments.attack.workers import command
from steer_env.evaluation import plots
from steer_env.files import write_atomically

SMALL = ("env.rounds=1", "env.proposals=1", "overwrite=true")
HELD = {"memory": "memory, MiB", "descriptors": "open files", "threads": "threads"}
"""What the process holds, and what a figure calls it."""
_GROWTH = 1.02
"""Memory that may be used at the end, as a share of what was used after the first quarter."""


def soak(minutes: float, share: float, folder: Path) -> pd.DataFrame:
    """Train and evaluate for so long, with pauses, and look before each time.

    Args:
        minutes: in all.
        share: of a core, at most.
        folder: receives what the commands leave, deleted each time, and ``soak.csv``.

    Returns:
        A row a time: ``minutes`` since the start, ``rounds`` of the commands so far, ``memory`` in MiB, ``descriptors``
        of open files, and ``threads``.
    """
    process, start, worked = psutil.Process(), time.monotonic(), time.process_time()
    samples: list[tuple[float, ...]] = []
    while (now := (time.monotonic() - start) / 60) < minutes or not samples:
        held = (process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())
        samples.append((now, len(samples), *held))
        table = pd.DataFrame(samples, columns=["minutes", "rounds", *HELD])
        write_atomically(folder / "soak.csv", table.to_csv(index=False))
        _once(folder / "soaked", len(samples))
        time.sleep(max(0.0, (time.process_time() - worked) / share - (time.monotonic() - start)))
    return table


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


def curve(samples: pd.DataFrame) -> Figure:
    """Memory, descriptors and threads over time."""
    figure, panels = plots.canvas(7, 5, len(HELD), sharex=True)
    for axes, (name, label) in zip(panels, HELD.items(), strict=True):
        axes.plot(samples["minutes"], samples[name], lw=1)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("minutes")
    return figure


def grown(samples: pd.DataFrame) -> list[str]:
    """What isn't flat after the first quarter, in words: means of the second quarter, and of the last."""
    quarter = max(1, len(samples) // 4)
    second = samples[quarter : 2 * quarter] if len(samples) > 1 else samples
    before, after = second.mean(), samples[-quarter:].mean()
    most = {"memory": before["memory"] * _GROWTH} | {name: before[name] + 0.5 for name in ("descriptors", "threads")}
    return [f"{name} grew from {before[name]:.1f} to {after[name]:.1f}" for name in HELD if after[name] > most[name]]
