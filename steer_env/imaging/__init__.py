"""Where images are made: latents and prompts in, embeddings and images out, in this process or on a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from steer_env.registry import Registry
from steer_env.types import Generator, Metric, Studio

HERE = "here"


def _here(*parts: Any, **options: Any) -> Studio:
    from steer_env.imaging.studio import LocalStudio

    return LocalStudio(*parts, **options)


def _ray(*parts: Any, **options: Any) -> Studio:
    # An optional dependency: imported where it is asked for.
    from steer_env.imaging.ray import RayStudio

    return RayStudio(*parts, **options)


STUDIOS: Registry[Callable[..., Studio]] = Registry("studio", {HERE: _here, "ray": _ray})
"""Name → a studio from generator, metric, judges, goal bank and options."""

StudioSpec = str | Mapping[str, Any] | Callable[..., Studio]
"""A name of :data:`STUDIOS`; a mapping with that ``name`` and options; or what makes a studio of one's own."""


def make_studio(
    spec: StudioSpec, generator: Generator, metric: Metric, judges: Mapping[str, Metric], goal_bank: Any = None
) -> Studio:
    """A studio that holds these parts.

    Args:
        spec: which studio; a callable gets the other arguments.
        generator: makes images.
        metric: that users choose by.
        judges: further metrics, by name.
        goal_bank: a :class:`steer_env.imaging.bank.GoalBank`, or None.

    Raises:
        ValueError: an unknown name, or an option value out of range.
        TypeError: an unknown option.
        ModuleNotFoundError: the optional package that the studio needs isn't installed.
    """
    if callable(spec):
        return spec(generator, metric, judges, goal_bank)
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    return STUDIOS[options.pop("name")](generator, metric, judges, goal_bank, **options)


def is_elsewhere(spec: StudioSpec) -> bool:
    """Whether images are made in other processes, which take their parts from this one's main memory."""
    return not callable(spec) and (spec if isinstance(spec, str) else spec["name"]) != HERE


def close_studios() -> None:
    """End the processes that studios of this one started elsewhere."""
    if ray := sys.modules.get("steer_env.imaging.ray"):
        ray.close()
