"""What a policy's file says beside the policy: how it was trained, and the scores that it claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingRecord:
    """How a policy was trained; its seed stands beside the policy's name.

    Args:
        suite: tasks it was trained on.
        episodes: how many it played.
        settings: of the agent, and the other parts of the environment, as JSON.
        versions: of the packages that trained it.

    Raises:
        ValueError: a value of another type, or a negative number of episodes.
    """

    suite: str
    episodes: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        check_text("suite", self.suite)
        check_integer("episodes", self.episodes, 0)
        _check_mapping("settings", self.settings)
        _check_mapping("versions", self.versions)


@dataclass(frozen=True)
class Claim:
    """Scores that a policy's author states, so that others can verify them.

    Args:
        suite, tasks: the suite, and how many of its tasks, from the first.
        generator, metric, human, mechanism: ids of the parts, as traces have them.
        rounds, proposals: R and K.
        improvement: mean over the tasks, of this one training seed.
        error: its standard error over tasks.
        versions: of the packages that measured it.

    Raises:
        ValueError: a value of another type or out of its range.
    """

    suite: str
    tasks: int
    generator: str
    metric: str
    human: str
    mechanism: str
    rounds: int
    proposals: int
    improvement: float
    error: float
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("suite", "generator", "metric", "human", "mechanism"):
            check_text(name, getattr(self, name))
        for name, least in (("tasks", 2), ("rounds", 1), ("proposals", 1)):
            check_integer(name, getattr(self, name), least)
        for name in ("improvement", "error"):
            check_number(name, getattr(self, name))
        if self.error < 0:
            raise ValueError(f"error must not be negative, got {self.error}")
        _check_mapping("versions", self.versions)


@dataclass(frozen=True)
class PolicyCard:
    """Either part may be missing: a schedule made by hand has no training, and few policies claim scores."""

    training: TrainingRecord | None = None
    claim: Claim | None = None

    def record(self) -> dict[str, Any]:
        """As JSON; parts that are missing are left out."""
        parts = {"training": self.training, "claim": self.claim}
        return {name: asdict(part) for name, part in parts.items() if part is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PolicyCard:
        """Check and take over what :meth:`record` made.

        Raises:
            TypeError: an entry too few or too many.
            ValueError: a value that an entry can't have.
        """
        _check_mapping("card", record)
        kinds = {"training": TrainingRecord, "claim": Claim}
        for name, part in record.items():
            if name not in kinds:
                raise ValueError(f"unknown part of a card {name!r}; there are: {', '.join(kinds)}")
            _check_mapping(name, part)
        return cls(**{name: kinds[name](**part) for name, part in record.items()})


def check_text(name: str, value: Any, longest: int = 200) -> str:
    """A name that can be printed on one line.

    Raises:
        ValueError: another type, empty, too long, or with characters that don't print.
    """
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= longest:
        raise ValueError(f"{name} must be 1 to {longest} printable characters, got {str(value)[:40]!r}")
    return value


def check_integer(name: str, value: Any, least: int) -> int:
    """A whole number that fits into 64 bits.

    Raises:
        ValueError: another type, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {str(value)[:40]}")
    return value


def check_number(name: str, value: Any) -> float:
    """A finite number.

    Raises:
        ValueError: another type, NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 <= value <= 1e300:
        raise ValueError(f"{name} must be a finite number, got {str(value)[:40]}")
    return float(value)


def _check_mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a JSON object, got {str(value)[:40]}")
