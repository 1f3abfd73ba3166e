"""Makes a function of typed options a command: Hydra, ``--help``, one-line errors, and the run's folder."""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
import time
import traceback
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

from experiments.run.console import patient
from experiments.run.folder import Run, job_name
from experiments.run.options import (
    CONF,
    PARTS,
    REQUIRED,
    RunOptions,
    choices,
    default_of,
    documentation,
    groups_of,
    kinds,
    lead_of,
    register_groups,
    type_of,
)
from steer_env.assets import AssetError
from steer_env.files import printable
from steer_env.humans.writers import WriterError
from steer_env.imaging import close_studios
from steer_env.limits import check_limits, limits_text
from steer_env.redaction import redacted
from steer_env.registry import Registry
from steer_env.servers import ServerError

O = TypeVar("O")  # noqa: E741
Body = Callable[[O, Run], "Mapping[str, Any] | None"]
NEEDS = {
    "launcher=joblib": "hydra_plugins.hydra_joblib_launcher",
    "launcher=slurm": "hydra_plugins.hydra_submitit_launcher",
    "studio=ray": "ray",
    "metric=dreamsim": "dreamsim",
    "metric=lpips": "lpips",
}
"""Packages of choices; the extra with the choice's name installs one."""
USERS_ERRORS = (
    ValueError,
    OSError,
    ImportError,
    HydraException,
    OmegaConfBaseException,
    FloatingPointError,
    WriterError,
    ServerError,
    AssetError,
)
"""Errors that a user can cause, which print one line. Others are faults of ours, and print a traceback."""
_OTHERS = ("hydra.", "hydra/")
_ELSEWHERE = ("hydra.searchpath=", "--config-dir", "-cd")
"""Arguments that add choices to those of conf/."""
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-dir", "-cd")
"""Hydra's own flags that take a value."""

register_groups()
OmegaConf.register_new_resolver("job_name", job_name, replace=True)


@dataclass
class AgentChoice:
    """An agent alone, for lists of agents."""

    defaults: list[Any]
    agent: Any = None


ConfigStore.instance().store("agent_alone", AgentChoice(["_self_", {"agent": "thompson"}]))


def command(options: type[O]) -> Callable[[Body[O]], Callable[[], None]]:
    """Make ``main(options, run)`` a command with the name of its file, or of its folder in a ``__main__.py``.

    ``main`` checks its options, calls ``run.open()`` before any work, and returns the result that marks the run as
    finished; Ctrl-C, errors, sweeps and the run's folder are handled here. Options are a dataclass with an ``Args:``
    section that documents each field; :class:`RunOptions` for commands that leave a folder.
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
            with patient():
                run(sys.argv[1:])

        def run(arguments: list[str]) -> None:
            if {"--help", "-h"} & set(arguments):
                print(help_text(name, options))
                raise SystemExit
            debug = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
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
            except Exception:
                if debug:
                    raise
                print(redacted(traceback.format_exc()), file=sys.stderr)
                raise SystemExit(1) from None
            finally:
                if not debug:
                    os.environ.pop("HYDRA_FULL_ERROR", None)

        main.options, main.command = options, name  # type: ignore[attr-defined]
        return main

    return decorate


def _node(options: type) -> Any:
    """The options with Hydra's list of defaults: the groups, then an experiment's choices over all of it."""
    chosen = [{name: default} for name, (default, _) in groups_of(options).items()]
    quiet = [{f"override hydra/{kind}": "none"} for kind in ("job_logging", "hydra_logging")]
    node = OmegaConf.structured(options)
    OmegaConf.set_struct(node, False)
    node["defaults"] = ["_self_", "run_folder", *chosen, {"experiment": None}, *quiet]
    return node


def _typed(config: Any) -> Any:
    """The options as their dataclass; refuses a missing one, and one outside its limits."""
    try:
        options = OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key} must be given: {error.full_key}=…") from None
    check_limits(options)
    return options


def _own_folder(name: str, options: type, arguments: Sequence[str]) -> list[str]:
    """The folder of a run without one on the command line."""
    named = {argument.partition("=")[0] for argument in arguments} & {"folder", "hydra.sweep.dir"}
    if len(named) > 1:
        raise ValueError("folder= and hydra.sweep.dir= both name the folder: give folder= alone")
    if not issubclass(options, RunOptions) or named:
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
    print(redacted(f"error: {printable(text) or type(error).__name__}"), file=sys.stderr)


def check_overrides(name: str, options: type, overrides: Sequence[str]) -> None:
    """Refuse a choice without its package, and an unknown option or choice, naming the nearest, as Hydra doesn't."""
    elsewhere = any(override.startswith(_ELSEWHERE) for override in overrides)
    for before, override in zip(["", *overrides], overrides, strict=False):
        key, equals, value = override.partition("=")
        key = key.lstrip("+~")
        if override.startswith("-") or before in _WITH_VALUE or key.startswith(_OTHERS):
            continue
        if not equals:
            raise ValueError(f"{override!r} is no option with a value, such as {fields(options)[0].name}=…")
        if (module := NEEDS.get(override)) and not find_spec(module):
            raise ValueError(f"{override} needs a package that isn't here: make setup")
        if key != "experiment":
            _check_key(name, options, key.partition("@")[0], [] if elsewhere else overrides)
        elif not elsewhere:
            choices(key)[value]


def _check_key(name: str, options: type, key: str, overrides: Sequence[str]) -> None:
    groups = groups_of(options)
    first, dot, rest = key.partition(".")
    if first in groups:
        _, base = groups[first]
        chosen = _chosen(first, groups, overrides)
        for word in chosen:
            choices(first)[word]
        if dot and rest:
            places = [PARTS[first][word].options for word in chosen] if first in PARTS else kinds(base)
            if not all(is_dataclass(place) for place in places):
                return
            known = {"name": "", **{own.name: own for place in places for own in fields(place)}}
            Registry(f"option of {first} {'|'.join(chosen)}", known)[rest.partition(".")[0]]
        return
    place: Any = options
    for part in key.split("."):
        if not is_dataclass(place):
            return
        known = {own.name: default_of(own) for own in fields(place)}
        place = Registry(f"option of {name}", known)[part]


def _chosen(field: str, groups: Mapping[str, tuple[str, Any]], overrides: Sequence[str]) -> list[str]:
    """A group's choice on the command line; several in a sweep, and any that an experiment may make."""
    values = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    if "experiment" in values and field not in values:
        return list(choices(field))
    words = values.get(field, groups[field][0])
    if words.startswith("${"):
        # As in another group: a space is the agent's.
        return _chosen(words[2:-1], groups, overrides)
    return [word.strip() for word in words.split(",")] if "(" not in words else []


def help_text(name: str, options: type) -> str:
    """What ``--help`` prints: the command, and each option with its type, default, range and meaning."""
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
