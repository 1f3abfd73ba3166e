"""What a person at the terminal meets during training: a progress bar, and Ctrl-C that stops cleanly."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """While it lasts, the first Ctrl-C asks to stop after the batch, and a second one stops at once."""
    signals: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(signals)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress(total: int, done: int) -> Iterator[Callable[[int, float], None]]:
    """A bar of episodes; call what it gives with the episodes done and the mean improvement of the last batch."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("episodes, improvement {task.fields[recent]:.3f}"),
        TimeRemainingColumn(),
    )
    recent = float("nan")
    with Progress(*columns) as bars:
        bar = bars.add_task("", total=total, completed=done, recent=recent)

        def report(done: int, improvement: float) -> None:
            nonlocal recent
            recent = improvement if np.isnan(recent) else 0.9 * recent + 0.1 * improvement
            bars.update(bar, completed=done, recent=recent)

        yield report
