"""Wrong options of every command, made from the declarations of the options themselves."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.attack.workers import ran
from experiments.run import options
from experiments.run.folder import Run
from experiments.run.options import PARTS, REQUIRED, RunOptions, choices, default_of, groups_of, type_of

ACCEPTED = 77
"""Exit status of a command that would have begun its work."""
_NOWHERE = "nosuch"
_NUMBERS = ("int", "float", "int | None", "float | None")
_ANYWHERE = ("nonsense", "=3", "nosuch=1", "+nosuch.deep=1", "nosuch/group=a", "threads", "threads=", "threads=[1]")
_RUNS = ("folder=", "overwrite=perhaps", "folder=[a,b]", "folder=/dev/null", "folder=/dev/null/run")


def commands() -> list[str]:
    """Names of all commands but this one."""
    return [name for name in options.commands() if name != Path(__file__).parent.name]


def options_of(command: str) -> Any:
    """A command's class of options."""
    return importlib.import_module(options.commands()[command]).main.options


def wrong_options(command: str) -> list[str]:
    """All ``key=value`` that can't be right, by the types, ranges, choices and lengths of a command's options."""
    kind = options_of(command)
    tries = [*_ANYWHERE, *(_RUNS if issubclass(kind, RunOptions) else ())]
    tries += _of_fields(kind, "", groups_of(kind))
    for group in groups_of(kind):
        tries += [f"{group}={_NOWHERE}", f"{group}=", f"{group}.{_NOWHERE}=1"]
        for name, part in PARTS.get(group, {}).items():
            known = [own for own in fields(part.options) if type_of(own) in _NUMBERS or type_of(own) == "bool"]
            tries += [f"{group}={name} {group}.{own.name}=word" for own in known]
            tries += [f"{group}={name} {group}.{own.name}=nan" for own in known if type_of(own) == "float"]
        if group not in PARTS:
            tries += [f"{group}={name} {group}.{_NOWHERE}=1" for name in choices(group)]
    return list(dict.fromkeys(tries))


def _of_fields(kind: Any, place: str, groups: Any) -> Iterator[str]:
    for own in fields(kind):
        value, name = default_of(own), f"{place}{own.name}"
        if own.name in groups and not place:
            continue
        if is_dataclass(value):
            yield f"{name}=3"
            yield f"{name}.{_NOWHERE}=1"
            yield from _of_fields(value, f"{name}.", {})
        else:
            yield from (f"{name}={wrong}" for wrong in _values(own, value))
            yield f"{name}x=1"


def _values(own: Field[Any], value: Any) -> Iterator[str]:
    limits, kind = own.metadata, type_of(own)
    many = kind.startswith("list")
    if limits.get("length"):
        yield "[]"
    if limits.get("unique") and value and value is not REQUIRED:
        yield f"[{value[0]},{value[0]}]"
    for bound, step in (("least", -1), ("most", 1)):
        if limits.get(bound) is not None:
            beyond = f"{limits[bound] + step:g}"
            yield f"[{beyond}]" if many else beyond
    if limits.get("among"):
        yield f"[{_NOWHERE}]" if many else _NOWHERE
    if kind in _NUMBERS:
        yield from ("word", "[1]", "{a:1}", "1e999" if "float" in kind else "1.5", "99999999999999999999x")
    if "float" in kind and not many:
        yield "nan"
    if kind == "bool":
        yield from ("perhaps", "[true]", "3")
    if many:
        yield from ("3", "word", "{a:1}")
    if kind == "str":
        yield "[a,b]"
        yield "{a:1}"


def attack(folder: Path, number: int, seed: int) -> tuple[int, list[str]]:
    """Try so many of all wrong options, evenly over all commands; all of them if there are fewer."""
    every = {command: wrong_options(command) for command in commands()}
    rng = np.random.default_rng(seed)
    drawn: list[tuple[str, str]] = []
    piles = {command: [options[i] for i in rng.permutation(len(options))] for command, options in every.items()}
    while len(drawn) < number and any(piles.values()):
        drawn += [(command, pile.pop()) for command, pile in piles.items() if pile]
    failures = []
    here = folder / "here"
    here.mkdir(parents=True)
    for place, (command, option) in enumerate(drawn[:number]):
        if complaint := _try(command, option.split(" "), folder / f"{place:04d}", here):
            failures.append(f"{command} {option}: {complaint}")
    return len(drawn[:number]), failures


def _try(command: str, words: Sequence[str], log: Path, here: Path) -> str:
    """What is wrong with the answer to wrong options, beside values for all options that have no default."""
    kind = options_of(command)
    groups, needed = groups_of(kind), {"folder": str(here / "new")}
    for own in fields(kind):
        if own.name not in groups and default_of(own) == REQUIRED:
            needed.setdefault(own.name, "[x]" if type_of(own).startswith("list") else "x")
    known = {own.name for own in fields(kind)} - {word.partition("=")[0] for word in words}
    arguments = [f"{name}={value}" for name, value in needed.items() if name in known]
    outcome = ran(command, [*arguments, *words], log, lambda: _trip(here), seconds=10)
    if left := sorted(path.name for path in here.iterdir()):
        return f"it left {left}"
    if outcome.refusal:
        return ""
    return "accepted" if outcome.status in (0, ACCEPTED) else str(outcome)


def _trip(here: Path) -> None:
    """Whatever begins its work ends here."""
    os.chdir(here)

    def begun(_: Run) -> Path:
        raise SystemExit(ACCEPTED)

    Run.open = begun  # type: ignore[method-assign, assignment]
