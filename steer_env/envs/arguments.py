"""Arguments of the environments, by name, for type checkers and for errors that name the nearest one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from steer_env.imaging import StudioSpec
from steer_env.imaging.bank import GoalBank
from steer_env.registry import Registry, Spec, checked_value
from steer_env.types import Generator, Human, Mechanism, Metric


class SteeringArguments(TypedDict, total=False):
    """Of all environments; see :class:`steer_env.envs.SteeringVectorEnv`."""

    suite: str
    generator: Spec[Generator]
    metric: Spec[Metric]
    rounds: int
    reward: str
    observe: Sequence[str]
    named: bool
    judges: Sequence[str | Mapping[str, Any]] | Mapping[str, Spec[Metric]]
    seeds: int
    goal_bank: str | Path | GoalBank | None
    studio: StudioSpec
    device: str
    dtype: str
    render_mode: str | None
    max_episode_steps: int | None


class ImageArguments(SteeringArguments, total=False):
    """Of image steering; see :class:`steer_env.envs.ImageSteeringVectorEnv`."""

    human: Spec[Human]
    mechanism: Spec[Mechanism]
    proposals: int
    action: str


class TextArguments(SteeringArguments, total=False):
    """Of text steering; see :class:`steer_env.envs.TextSteeringVectorEnv`."""

    max_length: int
    choose: Sequence[str]


class UnexpectedArgumentError(TypeError, ValueError):
    """An unknown argument: what Python raises, in whose words TorchRL looks for one that it has tried."""


def check_arguments(kind: type, arguments: Mapping[str, Any], *more: str) -> None:
    """Are these names and simple values that an environment takes?

    Args:
        kind: one of the classes above.
        arguments: by name.
        *more: further names, of values that are checked elsewhere.

    Raises:
        UnexpectedArgumentError: an unknown name, with the nearest one.
        ValueError: a value of another type.
    """
    hints = get_type_hints(kind)
    known = Registry("argument", {**hints, **dict.fromkeys(more, Any)})
    for name, value in arguments.items():
        try:
            hint = known[name]
        except ValueError as error:
            raise UnexpectedArgumentError(f"{error} (unexpected keyword argument {name!r})") from None
        checked_value(name, value, hint)
