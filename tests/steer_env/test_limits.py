"""Limits of options: declared where the options are, and enforced for every option of every part."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, fields
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steer_env.generators import GENERATORS
from steer_env.humans import HUMANS, PROMPTERS
from steer_env.humans.writers import WRITERS
from steer_env.imaging import STUDIOS
from steer_env.limits import Limited, check_limits, limits_text, option
from steer_env.mechanisms import ACTIONS, MECHANISMS
from steer_env.metrics import METRICS
from steer_env.policies.names import POLICIES
from steer_env.registry import Part, resolve

REGISTRIES = (GENERATORS, METRICS, HUMANS, PROMPTERS, WRITERS, STUDIOS, MECHANISMS, ACTIONS, POLICIES)


def numeric(part: Part) -> dict[str, Field[Any]]:
    hints = get_type_hints(part.options)
    kinds = {name: {hint, *get_args(hint)} for name, hint in hints.items()}
    return {own.name: own for own in fields(part.options) if kinds[own.name] & {int, float}}


NUMBERS = {
    f"{parts.kind} {name}:{own}": (parts, name, field)
    for parts in REGISTRIES
    for name, part in parts.items()
    for own, field in numeric(part).items()
}


@pytest.mark.parametrize("case", NUMBERS.values(), ids=NUMBERS)
@given(value=st.one_of(st.integers(), st.floats(), st.booleans(), st.sampled_from(["", "1", "word", [[]], {"a": 1}])))
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_a_parts_number_is_in_its_declared_range_or_refused_in_one_line(case: Any, value: Any) -> None:
    parts, name, field = case
    least, most = field.metadata["least"], field.metadata["most"]
    assert least < most
    needed = {own.name: "x" for own in fields(parts[name].options) if own.name in ("path", "model", "prompter")}
    many = isinstance(getattr(parts[name].options, field.name, None), list) or "list" in str(field.type)
    whole = "float" not in str(field.type)
    good = type(value) in ((int,) if whole else (int, float)) and least <= value <= most
    spec = {"name": name, **needed, field.name: [value] if many else value}
    if good:
        _, options = resolve(parts, spec)
        assert getattr(options, field.name) == spec[field.name]
    else:
        with pytest.raises(ValueError, match=rf"^[^\n]*{field.name}[^\n]*$"):
            resolve(parts, spec)


def test_every_class_of_options_checks_itself() -> None:
    for parts in REGISTRIES:
        for name, part in parts.items():
            assert issubclass(part.options, Limited) or not numeric(part), name


@dataclass
class Inner:
    words: list[str] = option(["a"], among=("a", "b"), length=1, unique=True)


@dataclass
class Outer:
    inner: Any
    settings: Any = None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Outer(Inner([])), r"inner\.words must have at least 1 entries, got \[\]"),
        (Outer(Inner(["a", "a"])), r"the entries of inner\.words must differ"),
        (Outer(Inner(["a", "c"])), r"unknown inner\.words 'c'; There are: a, b"),
        (Outer(Inner(), {"rates": [0.1, math.inf]}), r"settings\.rates must be a finite number, got inf"),
        (Outer(Inner(), {"rates": {"b": math.nan}}), r"settings\.rates\.b must be a finite number, got nan"),
    ],
)
def test_limits_hold_inside_other_options_and_are_named_by_their_place(options: Outer, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        check_limits(options)


def test_limits_are_said_in_words() -> None:
    assert limits_text(fields(Inner)[0].metadata) == "one of a, b, 1 or more entries, no entry twice"
