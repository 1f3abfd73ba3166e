"""Files: written whole or not at all, and never through a link; what others wrote is safe to print."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

LARGEST = 1 << 20
"""Bytes of a JSON file of a stranger; a table of mixture scales needs a few hundred."""
DEEPEST = 12
"""Lists and objects within each other there; a card's settings need four."""


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
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None and error.errno:
            # A full disk doesn't say of what.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def read_plain(path: Path, most: int) -> bytes:
    """A file's bytes, if it is a regular file and no link to one: no pipe is waited for, and no device is read.

    Raises:
        FileNotFoundError: no such regular file.
        ValueError: more than ``most`` bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if path.is_symlink() or not path.is_file():
        raise FileNotFoundError(path)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 (a path can't be opened without following links)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(path)
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"larger than {most} bytes")
    return content


def read_json(path: Path, most: int = LARGEST) -> Any:
    """Parse a JSON file that may come from a stranger, or may be damaged.

    Raises:
        FileNotFoundError: no such regular file.
        ValueError: larger than ``most`` bytes, not JSON in UTF-8, nested too deeply, an object with a key twice, or
            with a NaN or an infinity.
    """
    content = read_plain(path, most)
    try:
        value = json.loads(content.decode(), parse_constant=_refuse_constant, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(value, DEEPEST)
    return value


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, list | dict):
        if not left:
            raise ValueError("nested too deeply")
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, left - 1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no finite number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("an object has a key twice")
    return record


SEAL = "seal"


def seal(record: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object without its seal, however it is laid out."""
    rest = {name: value for name, value in record.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class DamagedError(ValueError):
    """A file that isn't what was written, with its name."""


def read_sealed(path: Path, most: int = LARGEST) -> dict[str, Any]:
    """A JSON object that :func:`seal` vouches for.

    Raises:
        FileNotFoundError: no such regular file.
        DamagedError: another content than was written, or none with a seal.
    """
    try:
        record = read_json(path, most)
        if not isinstance(record, dict) or SEAL not in record:
            raise ValueError("it has no seal, as files of earlier versions")
        if record[SEAL] != seal(record):
            raise ValueError("its content isn't what its seal says")
    except ValueError as error:
        raise DamagedError(f"{path} is damaged: {error}") from None
    return record


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def printable(text: str) -> str:
    r"""A line of text that a terminal prints and doesn't obey: control characters are replaced.

    >>> printable("\x1b[31mred")
    '?[31mred'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)
