"""Where images are made: latents and prompts in, embeddings and images out, in this process or on a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from steer_env.imaging.options import LocalOptions, PredictedOptions, RayOptions
from steer_env.registry import Part, Parts, Registry, build, parse_spec
from steer_env.types import Generator, Metric, Studio

STUDIOS: Parts = Registry(
    "studio",
    {
        "here": Part(LocalOptions, "steer_env.imaging.studio:LocalStudio"),
        "predicted": Part(PredictedOptions, "steer_env.imaging.predicted:PredictedStudio"),
        "ray": Part(RayOptions, "steer_env.imaging.ray:RayStudio"),
    },
)

StudioSpec = str | Mapping[str, Any] | Callable[..., Studio]
"""A studio by a word or a mapping, see :func:`steer_env.registry.parse_spec`; or what makes one."""


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
        ValueError: an unknown name or option, or a value out of range.
        ModuleNotFoundError: the optional package that the studio needs isn't installed.
    """
    if callable(spec):
        return spec(generator, metric, judges, goal_bank)
    context = {"generator": generator, "metric": metric, "judges": judges, "goal_bank": goal_bank}
    studio: Studio = build(STUDIOS, spec, **context)
    return studio


def is_elsewhere(spec: StudioSpec) -> bool:
    """Whether images are made in other processes, which take their parts from this one's main memory."""
    return not callable(spec) and parse_spec(spec)[0] == "ray"


def close_studios() -> None:
    """End the processes that studios of this one started elsewhere."""
    if ray := sys.modules.get("steer_env.imaging.ray"):
        ray.close()
