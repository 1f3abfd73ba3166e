"""Structured configs in Hydra's store, so that a typo is an error that lists what exists."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import MISSING as NOT_GIVEN
from dataclasses import Field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from conf import commands
from conf.launchers import LauncherConfig, check_plugins
from conf.parts import AgentConfig, LoggerConfig, StudioConfig, WriterConfig
from steer_env.registry import Registry

SCHEMAS: dict[str, type] = {}
"""Experiment → its schema, for what has been stored."""


def store(name: str, node: type) -> None:
    """Give Hydra a schema as ``NAME_schema``, and its documentation as the ``--help`` called ``hydra/help: NAME``."""
    SCHEMAS[name] = node
    ConfigStore.instance().store(name=f"{name}_schema", node=node)
    help_node = {"app_name": f"experiments.{name}", "header": "", "footer": "", "template": _help(node)}
    ConfigStore.instance().store(group="hydra/help", name=name, node=help_node)


def register() -> None:
    """Store the schemas; pre-training stores its own, which needs heavier imports."""
    groups = {
        "agent": AgentConfig.__subclasses__(),
        "logger": _kinds(LoggerConfig),
        "launcher": _kinds(LauncherConfig),
        "studio": _kinds(StudioConfig),
        "writer": _kinds(WriterConfig),
    }
    for group, kinds in groups.items():
        for kind in kinds:
            schema_name = kind.__name__.removesuffix("Config").lower() + "_schema"
            ConfigStore.instance().store(group=group, name=schema_name, node=kind)
    schemas: dict[str, type] = {
        "train": commands.TrainConfig,
        "evaluate": commands.EvaluateConfig,
        "efficiency": commands.EfficiencyConfig,
        "best_known": commands.BestKnownConfig,
        "compare": commands.CompareConfig,
        "decompose": commands.DecomposeConfig,
        "lottery": commands.LotteryConfig,
        "sweep_status": commands.SweepStatusConfig,
        "producibility": commands.ProducibilityConfig,
        "benchmark": commands.BenchmarkConfig,
        "mechanisms": commands.MechanismsConfig,
        "leaderboard": commands.LeaderboardConfig,
        "verify": commands.VerifyConfig,
        "bench": commands.BenchConfig,
        "throughput": commands.ThroughputConfig,
        "scaling": commands.ScalingConfig,
        "headlines": commands.HeadlinesConfig,
        "study": commands.StudyConfig,
        "fit_users": commands.FitUsersConfig,
        "tune": commands.TuneConfig,
    }
    for name, node in schemas.items():
        store(name, node)


def check_overrides(name: str, overrides: Sequence[str]) -> None:
    """Refuse an override of an option that doesn't exist; Hydra itself wouldn't say which ones do.

    Raises:
        ValueError: naming the option, the nearest one that exists, and all that exist in its place; or a choice
            whose packages aren't installed.
    """
    check_plugins(overrides)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if (
            "=" not in override
            or override.startswith("-")
            or key.startswith(("hydra.", "hydra/"))
            or key == "experiment"
        ):
            continue
        place: Any = SCHEMAS[name]
        for part in key.partition("@")[0].split("."):
            if not is_dataclass(place):
                break
            options = {f.name: _default(f) for kind in _kinds(place) for f in fields(kind)}
            place = Registry(f"option of {name}", options)[part]


def _help(node: type) -> str:
    """The documentation of a configuration and of those inside it, and Hydra's own listing of choices and values."""
    places: dict[type, list[str]] = {}
    _collect(node, "", places)
    parts = [str(inspect.getdoc(node))]
    for inner, names in places.items():
        if names != [""]:
            title = ", ".join(names)
            parts.append(f"{title}\n{'-' * len(title)}\n{inspect.getdoc(inner)}")
    choices = "== Choices (group=option) ==\n\n$APP_CONFIG_GROUPS"
    return "\n\n".join([*parts, choices, "== Config ==\nOverride anything (foo.bar=value)\n\n$CONFIG"]) + "\n"


def _default(part: Field[Any]) -> Any:
    return part.default_factory() if part.default_factory is not NOT_GIVEN else part.default


def _collect(node: type, place: str, places: dict[type, list[str]]) -> None:
    places.setdefault(node, []).append(place)
    for part in fields(node):
        inner = _default(part)
        if is_dataclass(inner):
            for kind in _kinds(inner):
                _collect(kind, f"{place}.{part.name}".lstrip("."), places)


def _kinds(node: Any) -> list[type]:
    """A schema, and those that may stand in its place."""
    kind = node if isinstance(node, type) else type(node)
    return [kind, *kind.__subclasses__()]
