"""From typed options to the parts of a run: the environment's arguments, agents, language models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra import compose

from experiments.run.options import AgentOptions, PartsOptions, choices, kinds
from steer_env.humans.writers import Writer, load_writer
from steer_env.policies import TablePolicy
from steer_env.policies.names import load_policy
from steer_env.registry import Registry, parse_spec

if TYPE_CHECKING:
    from agents.bandits import BanditAgent


def env_options(options: PartsOptions, **others: Any) -> dict[str, Any]:
    """The environment's keyword arguments, some of them replaced."""
    parts = {name: asdict(getattr(options, name)) for name in ("generator", "metric", "human", "mechanism", "studio")}
    return {**asdict(options.env), **parts, "device": options.device, "dtype": options.dtype, **others}


def configured_writer(writer: Any) -> Writer | None:
    """The language model that was chosen; None where there is none."""
    return None if writer.name == "none" else load_writer(asdict(writer))


def bandit_factory(spec: str, rounds: int) -> Callable[[], BanditAgent]:
    """Makes untrained bandits, from ``planning``, or from ``planning:pooling=false,credit=return``, checked.

    To be called inside a command, whose configurations are searched.
    """
    from agents.bandits import BANDITS, make_bandit

    name, values = parse_spec(spec)
    choices("agent")[name]
    known = Registry("option of agent", dict.fromkeys(own.name for kind in kinds(AgentOptions) for own in fields(kind)))
    for option in values:
        known[option]
    overrides = [f"agent.{option}={json.dumps(value)}" for option, value in values.items()]
    agent: Any = compose("agent_alone", [f"agent={name}", *overrides]).agent
    if "kind" not in agent:
        raise ValueError(f"agent {name!r} is no bandit; kinds of bandits are: {', '.join(BANDITS)}")
    make_bandit(rounds, agent)
    return partial(make_bandit, rounds, agent)


def load_table(spec: str, option: str) -> TablePolicy:
    """A policy that must be a table, as for races of bandits; else a ValueError that names the option."""
    policy = load_policy(spec)
    if not isinstance(policy, TablePolicy):
        raise ValueError(f"{option} must be a table over (round, stayed), such as a schedule, not {spec}")
    return policy
