"""What ``--help`` prints, and the site's pages of commands show."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
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
    lines += _entries(described(options, "", skip=groups))
    for kind, places in inner(options).items():
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


def inner(options: type) -> dict[type, dict[str, Any]]:
    """Classes of options inside a command's own, and inside those: place on the command line → its values there."""
    classes: dict[type, dict[str, Any]] = {}

    def collect(kind: Any, place: str, skip: Collection[str] = ()) -> None:
        for part in fields(kind):
            value = default_of(part) if isinstance(kind, type) else getattr(kind, part.name)
            if part.name not in skip and is_dataclass(value):
                classes.setdefault(type(value), {})[f"{place}{part.name}"] = value
                collect(value, f"{place}{part.name}.")

    collect(options, "", groups_of(options))
    return classes


def described(
    kind: type, place: str, examples: Sequence[Any] = (), skip: Collection[str] = ()
) -> Iterator[tuple[str, str, str, str, str]]:
    """Of each option of a class: its name on the command line, type, default, range and meaning.

    Defaults are those of the class, or the values in each of the examples.
    """
    texts = documentation(kind)
    for part in fields(kind):
        values = [getattr(example, part.name) for example in examples] or [default_of(part)]
        if part.name not in skip and not is_dataclass(values[0]):
            defaults = " or ".join(dict.fromkeys("required" if v == REQUIRED else repr(v) for v in values))
            text = texts.get(part.name, "")
            yield f"{place}{part.name}", type_of(part), defaults, limits_text(part.metadata), text


def _section(kind: type, title: str, place: str, examples: Sequence[Any] = ()) -> list[str]:
    lines = ["", *([title, "-" * len(title)] if title else []), lead_of(kind), ""]
    return lines + _entries(described(kind, f"{place}.", examples))


def _entries(options: Iterator[tuple[str, str, str, str, str]]) -> list[str]:
    lines = []
    for name, *details, text in options:
        lines.append(f"  {name}  ({', '.join(detail for detail in details if detail)})")
        lines += _filled(text, " " * 6) or [""]
    return lines


def _filled(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent)
