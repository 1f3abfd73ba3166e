"""From typed options to the parts of a run: the environment's arguments, agents, language models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra import compose

from agents.bandits import BANDITS, BanditAgent, make_bandit
from agents.registry import resolve_policies
from experiments.run.options import AgentOptions, EnvOptions, WriterOptions, choices, kinds
from steer_env.policies import TablePolicy
from steer_env.registry import Registry

if TYPE_CHECKING:
    from steer_env.language import Writer


def env_options(env: EnvOptions, **others: Any) -> dict[str, Any]:
    """The environment's keyword arguments, some of them replaced."""
    return {**asdict(env), **others}


def configured_writer(options: WriterOptions) -> Writer | None:
    """The language model of a choice; None where there is none.

    Raises:
        ValueError, WriterError: as :func:`steer_env.language.load_writer`.
    """
    from steer_env.language import load_writer

    own = asdict(options)
    kind = own.pop("kind")
    return None if kind == "none" else load_writer(kind, **own)


def bandit_factory(spec: str, rounds: int) -> Callable[[], BanditAgent]:
    """Makes untrained bandits, from ``planning``, or from ``planning:pooling=false,credit=return``.

    To be called inside a command, whose configurations are searched.

    Raises:
        ValueError: an unknown agent, one that isn't a bandit, an option that it doesn't have, or a value out of range.
    """
    name, _, rest = spec.partition(":")
    choices("agent")[name]
    known = Registry("option of agent", {part.name: None for kind in kinds(AgentOptions) for part in fields(kind)})
    overrides = [option for option in rest.split(",") if option]
    for override in overrides:
        known[override.partition("=")[0]]
    agent: Any = compose("agent_alone", [f"agent={name}", *(f"agent.{override}" for override in overrides)]).agent
    if "kind" not in agent:
        raise ValueError(f"agent {name!r} is no bandit; kinds of bandits are: {', '.join(BANDITS)}")
    make_bandit(rounds, agent)
    return partial(make_bandit, rounds, agent)


def load_table(spec: str, option: str) -> TablePolicy:
    """A policy that must be a table, such as the races of bandits need.

    Args:
        spec: as for :func:`agents.registry.resolve_policies`.
        option: what an error calls it.

    Raises:
        ValueError: it doesn't exist, or isn't a table.
    """
    (policy,) = resolve_policies([spec])
    if not isinstance(policy, TablePolicy):
        raise ValueError(f"{option} must be a table over (round, stayed), such as a schedule, not {spec}")
    return policy
