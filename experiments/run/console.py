"""What is printed for the person at the terminal. Printing never decides how a run ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.markdown import Markdown

from steer_env.files import printable
from steer_env.redaction import redacted

console = Console()


def say(message: str) -> None:
    """Print a line. A function, since the console itself can't travel to a launcher's process."""
    text = "\n".join(map(printable, redacted(message).splitlines()))
    _safely(lambda: console.print(text, soft_wrap=True, markup=False, highlight=False))


def show(markdown: str, wide: bool = False) -> None:
    """Print a report; a wide one as it stands in ``report.md``, others with their tables drawn."""
    if wide:
        _safely(lambda: console.print(markdown, markup=False, highlight=False, soft_wrap=True))
    else:
        draw(Markdown(markdown))


def draw(page: RenderableType) -> None:
    """Print a table or a page."""
    _safely(lambda: console.print(page))


@cache
def _nowhere() -> Any:
    """In place of a stream that the process was started without."""
    return Path(os.devnull).open("w", encoding="utf-8")


class _Patient:
    """A stream that is never in the way: letters it lacks become others, and what it can't take is lost."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream or _nowhere()
        with suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text) or 0)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            # Else the interpreter would try once more at its end, and make an exit status of it.
            with suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextmanager
def patient() -> Iterator[None]:
    """While it lasts, nothing that is printed, by whichever package, decides how a run ends."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Patient(sys.stdout), _Patient(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _safely(write: Callable[[], None]) -> None:
    """Outside a command, too: a terminal that is full or gone gets nothing."""
    before = sys.stdout
    sys.stdout = before if isinstance(before, _Patient) else _Patient(before)
    try:
        write()
    finally:
        sys.stdout = before
