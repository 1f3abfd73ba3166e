"""Limits of options, declared with the options: checked whenever such a dataclass is made, and shown by ``--help``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, get_type_hints

from steer_env.registry import Registry, checked_value


def option(
    default: Any = MISSING,
    least: float | None = None,
    most: float | None = None,
    among: Sequence[str] = (),
    length: int = 0,
    unique: bool = False,
) -> Any:
    """A field of a dataclass of options, with its limits.

    Args:
        default: a list is copied for each use; MISSING where the user must give a value.
        least, most: range of a number, or of each number of a list.
        among: the possible strings.
        length: fewest entries of a list.
        unique: whether the entries of a list must differ.
    """
    limits = {"least": least, "most": most, "among": tuple(among), "length": length, "unique": unique}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=limits)
    return field(default=default, metadata=limits)


class Limited:
    """A dataclass of options that is never made with a value outside its fields' limits: a ValueError says which."""

    def __post_init__(self) -> None:
        check_limits(self)


def check_limits(options: Any, place: str = "") -> None:
    """Refuse values of a dataclass, or of dataclasses inside it, that are outside their fields' limits.

    No number may be infinite or nan, or a whole one of more than 64 bits, wherever it stands; and the entries of a
    list must be of the type that it declares.
    """
    hints = _lists(options)
    for part in fields(options):
        value, name = getattr(options, part.name), f"{place}{part.name}"
        if is_dataclass(value):
            check_limits(value, f"{name}.")
            continue
        for where, number in _numbers(name, value):
            if not math.isfinite(number):
                raise ValueError(f"{where} must be a finite number, got {number}")
            if isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise ValueError(f"{where} must be a number of at most 64 bits, got {number:.4g}")
        if part.name in hints and isinstance(value, list):
            checked_value(name, value, hints[part.name])
        if "least" in part.metadata:
            _check_value(name, value, part.metadata)


def _lists(options: Any) -> dict[str, Any]:
    """Types of the fields that are lists.

    Other types aren't resolved: a class of the program itself, as a cluster's job gets it, lacks the names of its file.
    """
    declared = {part.name: part.type for part in fields(options) if str(part.type).startswith("list[")}
    return get_type_hints(type("Lists", (), {"__annotations__": declared}), {"Any": Any})


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Each number in a value, with its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(name, inner)
    elif isinstance(value, int | float):
        yield name, value


def _check_value(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    for word in (value if isinstance(value, list | tuple) else [value]) if limits["among"] else []:
        Registry(name, dict.fromkeys(limits["among"]))[word]
    if isinstance(value, list | tuple):
        if len(value) < limits["length"]:
            raise ValueError(f"{name} must have at least {limits['length']} entries, got {value}")
        if limits["unique"] and len({str(entry) for entry in value}) < len(value):
            raise ValueError(f"the entries of {name} must differ, got {value}")
    least, most = limits["least"], limits["most"]
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        if not (least is None or number >= least) or not (most is None or number <= most):
            which = f"each of {name}" if isinstance(value, list | tuple) else name
            raise ValueError(f"{which} must be {range_text(limits)}, got {_short(number)}")


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number within limits, of Python's or NumPy's kind; a ValueError says what is allowed.

    >>> whole("rounds", 4.5)
    Traceback (most recent call last):
    ...
    ValueError: rounds must be a whole number, got 4.5
    """
    number: int = checked_value(name, value, int)
    _check_value(name, number, {"least": least, "most": most, "among": (), "length": 0, "unique": False})
    return number


def limits_text(limits: Mapping[str, Any]) -> str:
    """A field's limits, in words; empty without any.

    >>> limits_text({"least": 1, "most": None, "among": (), "length": 0, "unique": False})
    'at least 1'
    """
    words = [range_text(limits)]
    if limits.get("among"):
        words.append("one of " + ", ".join(limits["among"]))
    if limits.get("length"):
        words.append(f"{limits['length']} or more entries")
    if limits.get("unique"):
        words.append("no entry twice")
    return ", ".join(word for word in words if word)


def range_text(limits: Mapping[str, Any]) -> str:
    """The range of a number, in words; empty where there is none.

    >>> range_text({"least": 0, "most": 16384})
    'from 0 to 16384'
    """
    least, most = (None if limits.get(end) is None else _short(limits[end]) for end in ("least", "most"))
    if least is not None and most is not None:
        return f"from {least} to {most}"
    return f"at least {least}" if least is not None else f"at most {most}" if most is not None else ""


def _short(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.15g}"
