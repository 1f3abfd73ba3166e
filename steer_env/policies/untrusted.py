"""Reading what a stranger sent: JSON of bounded size, from a folder without anything that runs when it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

LARGEST = 1 << 20
"""Bytes of a JSON file; a table of mixture scales needs a few hundred."""
DEEPEST = 12
"""Lists and objects within each other; a card's settings need four."""
_SUFFIXES = frozenset([".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".zip"])
_STARTS = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
"""First bytes of zip archives, such as Stable-Baselines3 writes, and of pickles."""


def refuse_pickles(folder: Path) -> None:
    """Look at names and first bytes of all files in a folder; none is loaded.

    Raises:
        ValueError: a file of a format that can hold pickled objects, which run code when they are loaded.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (path.suffix.lower() in _SUFFIXES or _start(path).startswith(_STARTS)):
            raise ValueError(
                f"{folder} holds {path.relative_to(folder)}, of a format that can run code when it is loaded: "
                "a policy travels as policy.json alone"
            )


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        FileNotFoundError: no such regular file.
        ValueError: larger than :data:`LARGEST`, not JSON in UTF-8, nested too deeply, or with a NaN or an infinity.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes")
    try:
        value = json.loads(content.decode(), parse_constant=_refuse_constant)
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
