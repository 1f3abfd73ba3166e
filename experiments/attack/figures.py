"""The curve of a soak."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.attack.soak import Sample


def curve(samples: Sequence[Sample]) -> Figure:
    """Memory, descriptors and threads over time."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    minutes = [sample.minutes for sample in samples]
    for place, (name, label) in enumerate((("memory", "memory, MiB"), ("descriptors", "open files"), ("threads",) * 2)):
        axes[place].plot(minutes, [getattr(sample, name) for sample in samples], lw=1)
        axes[place].set_ylabel(label)
        axes[place].set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")
    return figure
