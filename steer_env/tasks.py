"""Where tasks come from: a suite is a named, versioned, immutable list of tasks."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np

from steer_env.registry import Registry, checked_value
from steer_env.tiles import tilings
from steer_env.types import Task

_SPLITS = {"test": (0,), "val": (1,), "train": tuple(range(2, 10))}

_CSV_STREAM = 0xC5F
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What no text of people holds, but for the tab and the ends of lines."""


class TileSuite(Sequence[Task]):
    """Tasks on the embedded domain, each a pure function of the suite's seed and the task's index.

    The goal prompt names all eight factors of a tiling. The user's prompt names two to four of them, in other
    words and sometimes wrongly, as real users write. Tilings are split by a hash of their factors, so suites of
    different splits share no goal.

    Args:
        name: the suite's name.
        split: ``train``, ``val`` or ``test``.
        size: number of tasks.
        seed: where the tasks come from.
    """

    def __init__(self, name: str, split: str, size: int, seed: int) -> None:
        self.name, self.split, self.size, self.seed = name, split, size, seed

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.size))]
        if not 0 <= index < self.size:
            raise IndexError(f"suite {self.name!r} has tasks 0 to {self.size - 1}, not {index}")
        rng = np.random.default_rng([self.seed, index])
        factors = _draw_tiling(self.split, rng)
        named = np.zeros(len(tilings.FACTORS), dtype=bool)
        named[rng.permutation(len(tilings.FACTORS))[: rng.integers(2, 5)]] = True
        return Task(
            suite=self.name,
            index=int(index),
            goal_prompt=tilings.full_caption(factors),
            goal_seed=int(rng.integers(2**31)),
            prompt=tilings.caption(factors, named, tilings.CASUAL, rng),
            initial_seed=int(rng.integers(2**31)),
        )


class CSVSuite(Sequence[Task]):
    """Tasks from your file, such as pairs of prompts that real users wrote.

    Columns ``goal_prompt`` and ``prompt``, the user's, and if the seeds should be given ones, ``goal_seed`` and
    ``initial_seed``; other columns are ignored. The name is ``csv:PATH@HASH``, with a hash of the contents.

    Args:
        path: of the file, UTF-8.
        expected: hash that it must have; empty for any.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another hash, a missing column, an empty prompt or a bad seed, with its line.
    """

    def __init__(self, path: str, expected: str = "") -> None:
        self.name, rows = read_rows(path, expected, {"goal_prompt", "prompt"})
        self._tasks = [self._task(row, i, place) for i, (row, place) in enumerate(rows)]

    def _task(self, row: Mapping[str, str], index: int, place: str) -> Task:
        seeds = given_seeds(row, index, place)
        for name in ("goal_prompt", "prompt"):
            if not (row[name] or "").strip():
                raise ValueError(f"{place}: {name} is empty")
        return Task(self.name, index, row["goal_prompt"].strip(), seeds[0], row["prompt"].strip(), seeds[1])

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        return self._tasks[index]


def read_rows(path: str, expected: str, columns: set[str]) -> tuple[str, list[tuple[dict[str, str], str]]]:
    """The suite's name, and the rows of a file of tasks, or of others, each with its place for errors.

    Args:
        path: of the file, UTF-8.
        expected: hash that it must have; empty for any.
        columns: those that it must have; others may be there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another hash, another encoding, a missing or doubled column, a row with more or fewer fields than
            there are columns or a control character, with its line, or no rows.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise FileNotFoundError(f"no file of rows at {path}")
    contents = place.read_bytes()
    digest = hashlib.sha256(contents).hexdigest()[:8]
    if expected not in ("", digest):
        raise ValueError(f"{path} has changed: its hash is {digest}, not {expected}")
    try:
        text = contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} isn't UTF-8: byte {error.start} is 0x{contents[error.start]:02x}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header, lines = next(reader, []), [(line, f"{path}, line {reader.line_num}") for line in reader if line]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if missing := columns - set(header):
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}; it has: {header}")
    if len(set(header)) < len(header):
        raise ValueError(f"{path} has a column twice: {header}")
    for line, where in lines:
        if len(line) != len(header):
            quotes = "; a field with a comma needs quotes" if len(line) > len(header) else ""
            raise ValueError(f"{where}: {len(line)} fields, where there are {len(header)} columns{quotes}")
        if control := _CONTROL.search(" ".join(line)):
            raise ValueError(f"{where}: a field holds the control character {control[0]!r}")
    if not lines:
        raise ValueError(f"{path} holds no rows")
    return f"csv:{path}@{digest}", [(dict(zip(header, line, strict=True)), where) for line, where in lines]


def given_seeds(row: Mapping[str, str], index: int, place: str) -> list[int]:
    """Goal seed and initial seed of a row: those in its columns of these names, or else drawn by its index.

    Raises:
        ValueError: one that isn't a whole number from 0 to 2⁶³ − 1; 42.0, as data frames write it, is 42.
    """
    drawn = np.random.default_rng([_CSV_STREAM, index]).integers(2**31, size=2).tolist()
    seeds = []
    for name, own in zip(("goal_seed", "initial_seed"), drawn, strict=True):
        text = (row.get(name) or "").strip()
        digits = text.removesuffix(".0")
        # Python itself refuses to read thousands of digits.
        if text and not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) < 2**63):
            raise ValueError(f"{place}: {name} must be a non-negative integer below 2**63, got {text[:40]!r}")
        seeds.append(int(digits) if text else own)
    return seeds


def _draw_tiling(split: str, rng: np.random.Generator) -> np.ndarray:
    while True:
        factors = tilings.sample_factors(1, rng)[0]
        if hashlib.sha256(factors.astype(np.uint8).tobytes()).digest()[0] % 10 in _SPLITS[split]:
            return factors


SUITES = Registry(
    "suite",
    {
        "tiles-train-v1": ("train", 60_000, 101),
        "tiles-val-v1": ("val", 2_000, 102),
        "tiles-test-v1": ("test", 2_000, 103),
    },
)
"""Name → (split, size, seed)."""


def load_suite(name: str) -> TileSuite | CSVSuite:
    """The suite of that name, or of a file: ``csv:PATH``, see :class:`CSVSuite`.

    A file that was read before is parsed again only if it has changed.

    Raises:
        ValueError: there is none; the message lists those that exist.
        FileNotFoundError: no such file.

    >>> load_suite("tiles-test-v1")[0] == load_suite("tiles-test-v1")[0]
    True
    """
    if checked_value("suite", name, str).startswith("csv:"):
        path, expected = split_path(name.removeprefix("csv:"))
        place = Path(path).expanduser()
        contents = hashlib.sha256(place.read_bytes()).hexdigest() if place.is_file() else ""
        return _csv_suite(path, expected, contents)
    return TileSuite(name, *SUITES[name])


def split_path(path: str) -> tuple[str, str]:
    """A path, and the hash of eight hexadecimal digits that may follow its last ``@``.

    >>> split_path("me@home/tasks.csv"), split_path("tasks.csv@0123abcd")
    (('me@home/tasks.csv', ''), ('tasks.csv', '0123abcd'))
    """
    match = re.fullmatch(r"(.*)@([0-9a-f]{8})", path)
    return (match[1], match[2]) if match else (path, "")


@lru_cache
def _csv_suite(path: str, expected: str, contents: str) -> CSVSuite:
    """Of a file with such contents, whose hash is only there for the cache."""
    return CSVSuite(path, expected)
