"""Policies as JSON files of their own, and the safe reading of a stranger's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from steer_env.files import write_atomically
from steer_env.policies.cards import PolicyCard
from steer_env.proposals import check_scales

POLICY_FILE = "policy.json"
LARGEST = 1 << 20
"""Bytes of a JSON file; a table of mixture scales needs a few hundred."""
DEEPEST = 12
"""Lists and objects within each other; a card's settings need four."""
_SUFFIXES = frozenset([".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".zip"])
_STARTS = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
"""First bytes of zip archives, such as Stable-Baselines3 writes, and of pickles."""


class PolicyError(ValueError):
    """A folder without a policy, or with impossible values in it."""


class StoredPolicy:
    """A policy without randomness: what tables and histories of scales share.

    Args:
        name: what tables of results call it.
        scales: rows of mixture scales, the first for round 1.
        training_seed: seed of the training that made it; −1 if none did.
        card: how it was trained.

    Raises:
        PolicyError: a scale outside [0, 1].
    """

    kind: ClassVar[str]
    """In the file."""
    order: ClassVar[str]
    """Of the scales in a row, for people."""

    def __init__(
        self, name: str, scales: Sequence[np.ndarray], training_seed: int = -1, card: PolicyCard | None = None
    ) -> None:
        try:
            self._rows = [check_scales(row) for row in scales]
        except ValueError as error:
            raise PolicyError(f"policy {name!r}: {error}") from error
        self.name, self.training_seed = name, training_seed
        self.card = card or PolicyCard()

    def start(self, episode_seeds: Sequence[int]) -> None:
        pass

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    def rehearse(self, rounds: int) -> None:
        """Play one episode without a user; a PolicyError if the policy can't play so many rounds."""
        self.start([0])
        for place in range(rounds):
            self.act({"round": np.array([place]), "stayed": np.array([0])})

    @property
    def rows(self) -> list[list[float]]:
        """The scales, as JSON."""
        return [row.tolist() for row in self._rows]

    def record(self) -> dict[str, Any]:
        """As JSON, without the card."""
        return {"kind": self.kind, "name": self.name, "training_seed": self.training_seed, "scales": self.rows}

    def content(self) -> str:
        """SHA-256 of all but the card."""
        return hashlib.sha256(json.dumps(self.record()).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``policy.json``, all or nothing."""
        record = self.record() | {"card": self.card.record()}
        write_atomically(folder / POLICY_FILE, json.dumps(record, indent=2) + "\n")


def refuse_pickles(folder: Path) -> None:
    """Raises a ValueError if a file, by its name or its first bytes, may hold pickled objects, which can run code."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (path.suffix.lower() in _SUFFIXES or _head(path, 4).startswith(_STARTS)):
            raise ValueError(
                f"{folder} holds {path.relative_to(folder)}, of a format that can run code when it is loaded: "
                "a policy travels as policy.json alone"
            )


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def read_json(path: Path) -> Any:
    """Parse a JSON file that may come from a stranger.

    Raises:
        FileNotFoundError: no such regular file.
        ValueError: larger than :data:`LARGEST`, not JSON in UTF-8, nested too deeply, or with a NaN or an infinity.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    content = _head(path, LARGEST + 1)
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
