"""What is printed for the person at the terminal. Printing never decides how a run ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.markdown import Markdown

console = Console()


def say(message: str) -> None:
    """Print a line. A function, since the console itself can't travel to a launcher's process."""
    _safely(lambda: console.print(message, soft_wrap=True, markup=False, highlight=False))


def show(markdown: str, wide: bool = False) -> None:
    """Print a report; a wide one as it stands in ``report.md``, others with their tables drawn."""
    if wide:
        _safely(lambda: console.print(markdown, markup=False, highlight=False, soft_wrap=True))
    else:
        draw(Markdown(markdown))


def draw(page: RenderableType) -> None:
    """Print a table or a page."""
    _safely(lambda: console.print(page))


def _safely(write: Callable[[], None]) -> None:
    """A terminal without these letters gets others in their place; one that is full or gone gets nothing."""
    stream = sys.stdout
    try:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
        write()
    except OSError:
        return
