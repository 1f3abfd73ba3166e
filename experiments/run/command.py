"""Makes a function of typed options a command: Hydra, one-line errors, and the run's folder."""

from __future__ import annotations

import inspect
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
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
from experiments.run.help import help_text
from experiments.run.options import CONF, PARTS, RunOptions, choices, default_of, groups_of, kinds, register_groups
from steer_env.assets import AssetError
from steer_env.files import printable
from steer_env.humans.writers import WriterError
from steer_env.imaging import close_studios
from steer_env.limits import check_limits
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

_STRANGE = re.compile(r"[^\w /\\+.$%*@?|:\[\]=-]|[^\x00-\x7f]")
"""What Hydra doesn't read without quotes."""

register_groups()
OmegaConf.register_new_resolver("job_name", job_name, replace=True)


# For lists of agents.
ConfigStore.instance().store("agent_alone", {"defaults": ["_self_", {"agent": "thompson"}], "agent": None})


def command(options: type[O]) -> Callable[[Body[O]], Callable[[], None]]:
    """Make ``main(options, run)`` a command with the name of its file, or of its folder in a ``__main__.py``.

    ``main`` checks its options, calls ``run.open()`` before any work, and returns the result that marks the run as
    finished; Ctrl-C, errors, sweeps and the run's folder are handled here. Options are a dataclass with an ``Args:``
    section that documents each field; :class:`RunOptions` for commands that leave a folder. Numbers that other
    commands return are printed.
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

        def prepared() -> None:
            arguments = sys.argv[1:]
            if not {"-sc", "--shell-completion"} & set(arguments):
                check_overrides(name, options, arguments)
                sys.argv[1:] = [*map(_quoted, _flags_first(arguments)), *_own_folder(name, options, arguments)]
            application()
            if failures:
                raise failures.pop()

        @wraps(body)
        def main() -> None:
            with patient():
                if {"--help", "-h"} & set(sys.argv[1:]):
                    print(help_text(name, options))
                    raise SystemExit
                _answer_for(prepared)

        main.options, main.command = options, name  # type: ignore[attr-defined]
        return main

    return decorate


def _answer_for(application: Callable[[], None]) -> None:
    """Run it; errors of the user's print one line, ours a traceback, and with HYDRA_FULL_ERROR=1 Python shows all."""
    debug = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    # Hydra would else print tracebacks of its own.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if debug:
        application()
        return
    try:
        application()
    except USERS_ERRORS as error:
        _complain(error)
        raise SystemExit(2) from None
    except Exception:
        print(redacted(traceback.format_exc()), file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


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
    """The argument with quotes where Hydra wants some.

    A part with options, such as ``human=softmax:temperature=0.05``, is one value. So is a path in a home folder, or
    with letters that aren't English ones, alone or in a list.
    """
    key, _, value = argument.partition("=")
    if not value or argument.startswith("-") or value[0] in "\"'{$" or re.match(r"\w+\(", value):
        return argument
    if value[0] != "[" and ("=" in value or ("," not in value and _STRANGE.search(value))):
        escaped = value.replace('"', '\\"')
        return f'{key}="{escaped}"'
    if set("(\"'{") & set(value):
        return argument
    if value[0] == "[" and value[-1] == "]":
        entries = [_quoted_path(entry) for entry in value[1:-1].split(",")]
        return f"{key}=[{','.join(entries)}]"
    return f"{key}={','.join(_quoted_path(word) for word in value.split(','))}"


def _quoted_path(word: str) -> str:
    return f'"{word}"' if _STRANGE.search(word) else word


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
