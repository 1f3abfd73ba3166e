"""steer_env: environments and evaluators for steering policies of generative models.

Importing it registers ``steer_env/ImageSteering-v0`` and ``steer_env/TextSteering-v0`` with Gymnasium; no model is
loaded until an environment is made. The public names below are imported when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register

if TYPE_CHECKING:
    from steer_env import testing as testing
    from steer_env.evaluation.evaluate import evaluate as evaluate
    from steer_env.generators import load_generator as load_generator
    from steer_env.humans import load_human as load_human
    from steer_env.mechanisms import load_mechanism as load_mechanism
    from steer_env.metrics import load_metric as load_metric
    from steer_env.policies import Policy as Policy
    from steer_env.policies import TablePolicy as TablePolicy
    from steer_env.policies.names import load_policy as load_policy
    from steer_env.tasks import load_suite as load_suite
    from steer_env.traces import SteeringTrace as SteeringTrace
    from steer_env.traces import read_traces as read_traces
    from steer_env.traces import write_traces as write_traces
    from steer_env.types import Generator as Generator
    from steer_env.types import Human as Human
    from steer_env.types import Mechanism as Mechanism
    from steer_env.types import Metric as Metric
    from steer_env.types import Task as Task

__version__ = "0.2.0"

_PLACES = {
    "types": ("Generator", "Metric", "Human", "Mechanism", "Task"),
    "policies": ("Policy", "TablePolicy"),
    "policies.names": ("load_policy",),
    "traces": ("SteeringTrace", "read_traces", "write_traces"),
    "tasks": ("load_suite",),
    "evaluation.evaluate": ("evaluate",),
    "generators": ("load_generator",),
    "metrics": ("load_metric",),
    "humans": ("load_human",),
    "mechanisms": ("load_mechanism",),
}
"""Module → its public names."""
_HOMES = {name: module for module, names in _PLACES.items() for name in names}
__all__ = [*sorted(_HOMES), "testing"]

register(
    id="steer_env/ImageSteering-v0",
    entry_point="steer_env.envs:ImageSteeringEnv",
    vector_entry_point="steer_env.envs:ImageSteeringVectorEnv",
)
register(
    id="steer_env/TextSteering-v0",
    entry_point="steer_env.envs:TextSteeringEnv",
    vector_entry_point="steer_env.envs:TextSteeringVectorEnv",
)


def __getattr__(name: str) -> Any:
    if name == "testing":
        return import_module("steer_env.testing")
    if name not in _HOMES:
        raise AttributeError(f"module 'steer_env' has no attribute {name!r}; there are: {', '.join(__all__)}")
    return getattr(import_module(f"steer_env.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
