"""Where an agent's hyper-parameters are looked for: ``conf/space/NAME.yaml``, laid out as ``conf/agent/NAME.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from omegaconf import OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

_RANGE = {"low", "high", "log"}


def read_space(space: Any, agent: Any) -> dict[str, BaseDistribution]:
    """Option of the agent, such as ``settings.gamma``, → the values that it may have.

    Args:
        space: a configuration in whose leaves stand ``choices``, or ``low``, ``high`` and, for a search by orders of
            magnitude, ``log``; whole numbers if both ends are.
        agent: what is tuned; its own values are the first ones tried.

    Raises:
        ValueError: no option, one that the agent doesn't set, a leaf of another form, or an own value outside of it.
    """
    found = dict(_leaves(OmegaConf.to_container(space), ""))
    if not found:
        raise ValueError("there is nothing to tune: space has no options; see conf/space for examples")
    distributions = {}
    for option, leaf in found.items():
        own = OmegaConf.select(agent, option)
        if own is None:
            raise ValueError(f"space.{option} isn't an option that agent {agent.name!r} sets: agent.{option}=…")
        distributions[option] = _distribution(option, leaf)
        inside = own in leaf["choices"] if "choices" in leaf else leaf["low"] <= own <= leaf["high"]
        if not inside:
            raise ValueError(f"agent.{option} is {own}, outside of space.{option}: {leaf}")
    return distributions


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(node, dict):
        raise ValueError(f"space.{place} must hold choices, or low and high, got {node!r}")
    if "choices" in node or "low" in node or "high" in node:
        yield place, node
        return
    for name, inner in node.items():
        yield from _leaves(inner, f"{place}.{name}".lstrip("."))


def _distribution(option: str, leaf: Mapping[str, Any]) -> BaseDistribution:
    if set(leaf) == {"choices"}:
        return CategoricalDistribution(leaf["choices"])
    if not {"low", "high"} <= set(leaf) <= _RANGE:
        raise ValueError(f"space.{option} must hold choices, or low, high and log, got {dict(leaf)}")
    whole = isinstance(leaf["low"], int) and isinstance(leaf["high"], int)
    return (IntDistribution if whole else FloatDistribution)(**leaf)


def own_values(agent: Any, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """The agent's values of the options that are tuned."""
    return {option: OmegaConf.select(agent, option) for option in distributions}


def with_values(config: Any, values: Mapping[str, Any]) -> Any:
    """A copy of a configuration whose agent has these values."""
    changed = deepcopy(config)
    for option, value in values.items():
        OmegaConf.update(changed.agent, option, value)
    return changed
