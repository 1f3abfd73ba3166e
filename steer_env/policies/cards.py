"""A policy's name and card: how it was trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingRecord:
    """How a policy was trained, but for its seed, which is beside the policy's name.

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
        check_mapping("settings", self.settings)
        check_mapping("versions", self.versions)


@dataclass(frozen=True)
class PolicyCard:
    """How a policy was made; a schedule made by hand has no training."""

    training: TrainingRecord | None = None

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"training": asdict(self.training)} if self.training else {}


_PLAIN = re.compile(r"[a-z0-9]([\w.,:;+=()#%/@'!?*-]| (?! ))*(?<! )", re.ASCII | re.IGNORECASE)
_LONGEST = 80


def check_name(name: Any) -> str:
    """A policy's name: letters, digits and punctuation of ASCII that mean nothing in pages, plots and terminals.

    Raises:
        ValueError: another type, or other characters, a blank at an end or two in a row, too long, or empty.
    """
    if not isinstance(name, str) or len(name) > _LONGEST or not _PLAIN.fullmatch(name):
        allowed = f"1 to {_LONGEST} plain characters, letters and digits of ASCII, single blanks and .,:;+-=()#%/@'!?*_"
        raise ValueError(f"name must be {allowed}, got {str(name)[:40]!a}")
    return name


def likeness(name: str) -> str:
    """A plain name at a glance: equal for two names that may be mistaken for each other.

    >>> likeness("Sample-Bucket"), likeness("pub1ished") == likeness("published")
    ('sample bucket', True)
    """
    words = re.sub(r"[^a-z0-9]+", " ", name.casefold()).strip()
    return words.replace("rn", "m").replace("vv", "w").translate(str.maketrans("01i", "oll"))


def check_text(name: str, value: Any, longest: int = 200) -> str:
    """The value, unless it is empty, too long, or no text that prints on one line."""
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= longest:
        raise ValueError(f"{name} must be 1 to {longest} printable characters, got {str(value)[:40]!r}")
    return value


def check_integer(name: str, value: Any, least: int) -> int:
    """The value, unless it is no whole number, below ``least``, or beyond 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {str(value)[:40]}")
    return value


def check_number(name: str, value: Any) -> float:
    """The value, unless it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 <= value <= 1e300:
        raise ValueError(f"{name} must be a finite number, got {str(value)[:40]}")
    return float(value)


def check_settings(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The value, unless it is too much, or holds text or a number that :func:`check_text` or JSON doesn't allow."""
    left = 1000
    inside: list[Any] = [value]
    while inside:
        each = inside.pop()
        if isinstance(each, Mapping):
            inside += [*each, *each.values()]
        elif isinstance(each, list):
            inside += each
        elif isinstance(each, str) and each:
            check_text("a setting", each)
        elif isinstance(each, int | float) and not isinstance(each, bool):
            check_number("a setting", each)
        left -= 1
        if left < 0:
            raise ValueError("there are more than 1000 settings")
    return value


def check_mapping(name: str, value: Any) -> None:
    """Raises a ValueError for anything but a JSON object."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a JSON object, got {str(value)[:40]}")
