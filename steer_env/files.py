"""Files: written whole or not at all, and never through a link; what others wrote is safe to print."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: Path, content: bytes | str | Callable[[BinaryIO], Any]) -> None:
    """Put a file in the place of what was there; readers and crashes see the former one or the whole new one.

    It is written under a new name that can't be guessed and must not exist, so that no link is followed. A link
    at ``path`` itself is replaced.

    Args:
        path: where to; folders above it are made.
        content: bytes, text (written in UTF-8, lone surrogates escaped), or what writes into the open file.

    Raises:
        OSError: it can't be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(16)}.partial")
    try:
        with partial.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def printable(text: str) -> str:
    r"""A line of text that a terminal prints and doesn't obey: control characters are replaced.

    >>> printable("\x1b[31mred")
    '?[31mred'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)
