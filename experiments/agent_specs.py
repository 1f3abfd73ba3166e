"""Agents by name, as ``agent=NAME`` of experiments.train has them, and variants of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from hydra import compose

from agents.bandits import BANDITS, BanditAgent, make_bandit
from conf import schema
from steer_env.registry import parse_spec


def bandit_factory(spec: str, rounds: int) -> Callable[[], BanditAgent]:
    """Makes untrained bandits, from ``planning``, or from ``planning:pooling=false,credit=return``.

    To be called inside a Hydra application, whose configurations are searched.

    Raises:
        ValueError: an agent that isn't a bandit, an option that it doesn't have, or a value out of range.
        hydra.errors.MissingConfigException: no such agent; the message lists those that exist.
    """
    name, options = parse_spec(spec)
    overrides = [f"agent={name}", *(f"agent.{option}={json.dumps(value)}" for option, value in options.items())]
    schema.check_overrides("train", overrides)
    agent: Any = compose("train", overrides).agent
    if "kind" not in agent:
        raise ValueError(f"agent {name!r} is no bandit; kinds of bandits are: {', '.join(BANDITS)}")
    make_bandit(rounds, agent)
    return partial(make_bandit, rounds, agent)
