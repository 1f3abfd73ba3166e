"""Policies as JSON files of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from steer_env.files import SEAL, seal, write_atomically
from steer_env.limits import whole
from steer_env.policies.cards import PolicyCard, check_name
from steer_env.proposals import BUCKETS, check_scales

POLICY_FILE = "policy.json"


class PolicyError(ValueError):
    """A folder without a policy, or with impossible values in it."""


class StoredPolicy:
    """A policy that is read from a file: what all kinds share.

    Args:
        name: what tables of results call it.
        training_seed: seed of the training that made it; −1 if none did.
        card: how it was trained.

    Raises:
        PolicyError: a name or a seed that a policy can't have.
    """

    kind: ClassVar[str]
    """In the file."""

    def __init__(self, name: str, training_seed: int = -1, card: PolicyCard | None = None) -> None:
        try:
            self.name, self.training_seed = check_name(name), whole("training_seed", training_seed, -1, 2**63 - 1)
        except ValueError as error:
            raise PolicyError(str(error)) from None
        self.card = card or PolicyCard()

    def start(self, episode_seeds: Sequence[int]) -> None:
        pass

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    @property
    def is_certain(self) -> bool:
        """Does it draw nothing at random?"""
        return True

    def rehearse(self, rounds: int) -> None:
        """Play one episode without a user; a PolicyError if the policy can't play so many rounds."""
        self.start([0])
        for place in range(rounds):
            self.act({"round": np.array([place]), "stayed": np.array([0])})

    def record(self) -> dict[str, Any]:
        """As JSON, without the card."""
        return {"kind": self.kind, "name": self.name, "training_seed": self.training_seed}

    def content(self) -> str:
        """SHA-256 of all but the card."""
        return hashlib.sha256(json.dumps(self.record()).encode()).hexdigest()

    def is_like(self, other: StoredPolicy) -> bool:
        """Does the other do the same, or nearly so?"""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write ``policy.json``, all or nothing."""
        record = self.record() | {"card": self.card.record()}
        record[SEAL] = seal(record)
        write_atomically(folder / POLICY_FILE, json.dumps(record, indent=2) + "\n")


class ScalesPolicy(StoredPolicy):
    """A policy without randomness that comes down to rows of mixture scales.

    Args:
        name, training_seed, card: see :class:`StoredPolicy`.
        scales: rows of mixture scales, the first for round 1.

    Raises:
        PolicyError: a scale outside [0, 1].
    """

    order: ClassVar[str]
    """Of the scales in a row, for people."""

    def __init__(
        self, name: str, scales: Sequence[np.ndarray], training_seed: int = -1, card: PolicyCard | None = None
    ) -> None:
        try:
            self._rows = [check_scales(row) for row in listed(name, scales)]
        except ValueError as error:
            raise PolicyError(f"policy {name!r}: {error}") from error
        super().__init__(name, training_seed, card)

    @property
    def rows(self) -> list[list[float]]:
        """The scales, as JSON."""
        return [row.tolist() for row in self._rows]

    def record(self) -> dict[str, Any]:
        """As JSON, without the card."""
        return super().record() | {"scales": self.rows}

    def is_like(self, other: StoredPolicy) -> bool:
        """Does the other have the same scales, to half a bucket?"""
        if not isinstance(other, ScalesPolicy) or [len(row) for row in self.rows] != [len(row) for row in other.rows]:
            return False
        pairs = zip(self._rows, other._rows, strict=True)
        return all(np.abs(mine - theirs).max(initial=0) < 0.5 / BUCKETS for mine, theirs in pairs)


def listed(name: str, scales: Any) -> Any:
    """The rows of scales; a PolicyError if they aren't a list or an array."""
    if isinstance(scales, list | tuple) or (isinstance(scales, np.ndarray) and scales.ndim):
        return scales
    raise PolicyError(f"policy {name!r}: scales must be a list, got {scales!r:.60}")
