"""What makes a function of typed options a command: Hydra, ``--help``, one-line errors, and the run's folder."""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from experiments.run.console import say
from experiments.run.folder import Run, job_name
from experiments.run.options import (
    CONF,
    PARTS,
    REQUIRED,
    RunOptions,
    check_limits,
    choices,
    default_of,
    documentation,
    groups_of,
    kinds,
    limits_text,
    register_groups,
)
from steer_env.imaging import close_studios
from steer_env.registry import Registry

O = TypeVar("O")  # noqa: E741
Body = Callable[[O, Run], "Mapping[str, Any] | None"]
NEEDS = {
    "launcher=joblib": "hydra_plugins.hydra_joblib_launcher",
    "launcher=slurm": "hydra_plugins.hydra_submitit_launcher",
    "studio=ray": "ray",
    "writer=endpoint": "openai",
    "model=endpoint": "openai",
    "metric=dreamsim": "dreamsim",
    "metric=lpips": "lpips",
}
"""What a choice needs; the extra of its name installs it."""
USERS_ERRORS = (ValueError, OSError, ImportError, HydraException, OmegaConfBaseException, FloatingPointError)
"""What a user can cause: told in one line. Anything else is a fault of ours, whose traceback is shown."""
_OTHERS = ("hydra.", "hydra/")
_ELSEWHERE = ("hydra.searchpath=", "--config-dir", "-cd")
"""Where there may be choices that conf/ doesn't have."""
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-dir", "-cd")
"""Hydra's own flags that a word of their own follows."""

register_groups()
OmegaConf.register_new_resolver("job_name", job_name, replace=True)


@dataclass
class AgentChoice:
    """An agent alone, for lists of agents."""

    defaults: list[Any]
    agent: Any = None


ConfigStore.instance().store("agent_alone", AgentChoice(["_self_", {"agent": "thompson"}]))


def command(options: type[O]) -> Callable[[Body[O]], Callable[[], None]]:
    """Make ``main(options, run)`` a command, called like its file, or like its folder where that is ``__main__.py``.

    ``main`` checks what it is given, calls ``run.open()`` before any work, and returns the result that marks the run as
    finished. Ctrl-C, errors, sweeps and the run's folder are taken care of here.

    Args:
        options: a dataclass, with an ``Args:`` section that documents each field; :class:`RunOptions` for commands that
            leave a folder.
    """

    def decorate(body: Body[O]) -> Callable[[], None]:
        path = Path(inspect.getfile(body))
        name = path.parent.name if path.stem == "__main__" else path.stem
        ConfigStore.instance().store(name, _node(options))

        failures: list[BaseException] = []

        @wraps(body)
        def job(config: Any) -> None:
            try:
                Run(config, name).play(body, lambda: _typed(config))
            except USERS_ERRORS as error:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise
                # Hydra would print lines of its own about it.
                failures.append(error)
            finally:
                close_studios()

        application = hydra.main(version_base=None, config_path=str(CONF), config_name=name)(job)

        @wraps(body)
        def main() -> None:
            arguments = sys.argv[1:]
            if {"--help", "-h"} & set(arguments):
                print(help_text(name, options))
                raise SystemExit
            debug = bool(os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0"))
            try:
                if not {"-sc", "--shell-completion"} & set(arguments):
                    check_overrides(name, options, arguments)
                    sys.argv[1:] = [*map(_quoted, _flags_first(arguments)), *_own_folder(name, options, arguments)]
                # Hydra would else print tracebacks of its own.
                os.environ["HYDRA_FULL_ERROR"] = "1"
                application()
                if failures:
                    raise failures.pop()
            except USERS_ERRORS as error:
                if debug:
                    raise
                _complain(error)
                raise SystemExit(2) from None
            finally:
                if not debug:
                    os.environ.pop("HYDRA_FULL_ERROR", None)

        main.options, main.command = options, name  # type: ignore[attr-defined]
        return main

    return decorate


def _node(options: type) -> Any:
    """The options with Hydra's list of defaults: the groups, then an experiment's choices over all of it."""
    groups = groups_of(options)
    chosen = [{name: default} for name, (default, _) in groups.items()]
    quiet = [{f"override hydra/{kind}": "none"} for kind in ("job_logging", "hydra_logging")]
    node = OmegaConf.structured(options)
    defaults = ["_self_", "run_folder", *chosen, {"experiment": None}, *quiet]
    OmegaConf.set_struct(node, False)
    node["defaults"] = defaults
    return node


def _typed(config: Any) -> Any:
    """The options as the dataclass that they are, within their limits.

    Raises:
        ValueError: an option that isn't given, or out of range.
    """
    try:
        options = OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} must be given: {error.full_key}=…") from None
    check_limits(options)
    return options


def _own_folder(name: str, options: type, arguments: Sequence[str]) -> list[str]:
    """The folder of a run that isn't given one."""
    given = any(argument.startswith(("folder=", "hydra.sweep.dir=")) for argument in arguments)
    if not issubclass(options, RunOptions) or given:
        return []
    return [f"folder=outputs/{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"]


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """Hydra refuses options on both sides of flags such as ``--multirun``."""
    return sorted(arguments, key=lambda argument: "=" in argument and not argument.startswith("-"))


def _quoted(argument: str) -> str:
    """A part with options, such as ``human=softmax:temperature=0.05``, is one value, which Hydra wants in quotes."""
    key, _, value = argument.partition("=")
    bare = "=" in value and value[0] not in "\"'[{$" and not argument.startswith("-") and "(" not in value
    return f'{key}="{value}"' if bare else argument


def _complain(error: BaseException) -> None:
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    text = "; ".join(line.strip() for part in (error, cause) if part for line in str(part).splitlines() if line.strip())
    print(f"error: {text or type(error).__name__}", file=sys.stderr)


def check_overrides(name: str, options: type, overrides: Sequence[str]) -> None:
    """Refuse an option or choice that doesn't exist; Hydra wouldn't name the nearest one.

    Raises:
        ValueError: naming the option, the nearest one that exists, and all that exist in its place; or a choice
            whose packages aren't installed.
    """
    elsewhere = any(override.startswith(_ELSEWHERE) for override in overrides)
    for before, override in zip(["", *overrides], overrides, strict=False):
        key, equals, value = override.partition("=")
        key = key.lstrip("+~")
        if override.startswith("-") or before in _WITH_VALUE or key.startswith(_OTHERS):
            continue
        if not equals:
            raise ValueError(f"{override!r} is no option with a value, such as {fields(options)[0].name}=…")
        if (module := NEEDS.get(override)) and not find_spec(module):
            raise ValueError(f"{override} needs a package that isn't here: pip install 'steer-env[{value}]'")
        if key != "experiment":
            _check_key(name, options, key.partition("@")[0], [] if elsewhere else overrides)
        elif not elsewhere:
            choices(key)[value]


def _check_key(name: str, options: type, key: str, overrides: Sequence[str]) -> None:
    groups = groups_of(options)
    first, dot, rest = key.partition(".")
    if first in groups:
        default, base = groups[first]
        chosen = _chosen(first, default, overrides)
        for word in chosen:
            choices(first)[word]
        if dot and rest:
            places = [PARTS[first][word].options for word in chosen] if first in PARTS else kinds(base)
            known = {"name": "", **{own.name: own for place in places for own in fields(place)}}
            Registry(f"option of {first} {'|'.join(chosen)}", known)[rest.partition(".")[0]]
        return
    place: Any = options
    for part in key.split("."):
        if not is_dataclass(place):
            return
        known = {own.name: default_of(own) for own in fields(place)}
        place = Registry(f"option of {name}", known)[part]


def _chosen(field: str, default: str, overrides: Sequence[str]) -> list[str]:
    """What is chosen from a group on the command line; several words in a sweep."""
    given = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    if "experiment" in given and field not in given:
        # It may choose any.
        return list(choices(field))
    words = given.get(field, default)
    return [word.strip() for word in words.split(",")] if "(" not in words else []


def help_text(name: str, options: type) -> str:
    """What ``--help`` prints: the command, and each option with its type, default, range and meaning."""
    lead = (inspect.getdoc(options) or "").partition("\nArgs:")[0].strip()
    lines = [f"python -m experiments.{name} OPTION=VALUE …", "", lead, ""]
    groups = groups_of(options)
    lines += ["Options", "-------"]
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
        for kind in kinds(base) if is_dataclass(base) else []:
            lines += _section(kind, "", field, [])
    others = "\n".join(
        [
            "",
            "More",
            "----",
            f"experiment={'|'.join(choices('experiment'))}: overlays in conf/experiment.",
            "--multirun: sweep over values, such as seed=0,1,2. --cfg job: print the configuration and end.",
            "A wrong option is answered in one line; HYDRA_FULL_ERROR=1 shows tracebacks.",
        ]
    )
    return "\n".join(lines) + "\n" + others


def _collect(example: Any, place: str, sections: dict[type, dict[str, Any]]) -> None:
    """Note where each class of options stands, with its values there; those inside it, too."""
    sections.setdefault(type(example), {})[place] = example
    for part in fields(example):
        if is_dataclass(value := getattr(example, part.name)):
            _collect(value, f"{place}.{part.name}", sections)


def _section(kind: type, title: str, place: str, examples: Sequence[Any] = ()) -> list[str]:
    """The options of a class: with their defaults, or with their values in each of the examples."""
    lead = (inspect.getdoc(kind) or "").partition("\nArgs:")[0].strip()
    lines = ["", *([title, "-" * len(title)] if title else []), lead, ""]
    for part in fields(kind):
        values = [getattr(example, part.name) for example in examples] or [default_of(part)]
        if not is_dataclass(values[0]):
            lines += _entry(part, values, documentation(kind), f"{place}.")
    return lines


def _entry(part: Any, values: Sequence[Any], texts: Mapping[str, str], place: str) -> list[str]:
    kind = part.type if isinstance(part.type, str) else getattr(part.type, "__name__", str(part.type))
    defaults = dict.fromkeys("required" if value == REQUIRED else repr(value) for value in values)
    details = [kind, " or ".join(defaults), limits_text(part.metadata)]
    head = f"  {place}{part.name}  ({', '.join(detail for detail in details if detail)})"
    return [head, *(_filled(texts.get(part.name, ""), " " * 6) or [""])]


def _filled(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent)


__all__ = ["command", "say"]
