"""What ``--help`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from experiments.run.options import (
    PARTS,
    REQUIRED,
    choices,
    default_of,
    documentation,
    groups_of,
    kinds,
    lead_of,
    type_of,
)
from steer_env.limits import limits_text


def help_text(name: str, options: type) -> str:
    """The command, and each option with its type, default, range and meaning."""
    lines = [f"python -m experiments.{name} OPTION=VALUE …", "", lead_of(options), "", "Options", "-------"]
    groups = groups_of(options)
    sections: dict[type, dict[str, Any]] = {}
    for part in fields(options):
        default = default_of(part)
        if part.name in groups:
            continue
        if is_dataclass(default):
            _collect(default, part.name, sections)
        else:
            lines += _entry(part, [default], documentation(options), "")
    for kind, places in sections.items():
        lines += _section(kind, ", ".join(places), next(iter(places)), list(places.values()))
    for field, (default, base) in groups.items():
        lines += ["", f"{field}={'|'.join(choices(field))}", "-" * len(field), f"Default: {default}.", ""]
        lines += _filled(documentation(options).get(field, ""), "")
        for word, member in PARTS.get(field, {}).items():
            lines += _section(member.options, f"{field}={word}", field, [])
        for kind in kinds(base) if is_dataclass(base) else []:
            lines += _section(kind, "", field, [])
    lines += ["", "More", "----", f"experiment={'|'.join(choices('experiment'))}: overlays in conf/experiment."]
    lines += ["--multirun: sweep over values, such as seed=0,1,2. --cfg job: print the configuration and end."]
    return "\n".join([*lines, "A wrong option is answered in one line; HYDRA_FULL_ERROR=1 shows tracebacks."])


def _collect(example: Any, place: str, sections: dict[type, dict[str, Any]]) -> None:
    """By class of options: its places, with its values there; also of classes inside it."""
    sections.setdefault(type(example), {})[place] = example
    for part in fields(example):
        if is_dataclass(value := getattr(example, part.name)):
            _collect(value, f"{place}.{part.name}", sections)


def _section(kind: type, title: str, place: str, examples: Sequence[Any] = ()) -> list[str]:
    """The options of a class: with their defaults, or with their values in each of the examples."""
    lines = ["", *([title, "-" * len(title)] if title else []), lead_of(kind), ""]
    for part in fields(kind):
        values = [getattr(example, part.name) for example in examples] or [default_of(part)]
        if not is_dataclass(values[0]):
            lines += _entry(part, values, documentation(kind), f"{place}.")
    return lines


def _entry(part: Any, values: Sequence[Any], texts: Mapping[str, str], place: str) -> list[str]:
    defaults = dict.fromkeys("required" if value == REQUIRED else repr(value) for value in values)
    details = [type_of(part), " or ".join(defaults), limits_text(part.metadata)]
    head = f"  {place}{part.name}  ({', '.join(detail for detail in details if detail)})"
    return [head, *(_filled(texts.get(part.name, ""), " " * 6) or [""])]


def _filled(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent)
