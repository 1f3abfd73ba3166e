"""What a training needs of a bandit agent, and the agents by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from agents.planning import PlanningThompson
from agents.thompson import SampledPolicy, ThompsonSampling
from steer_env.policies import TablePolicy
from steer_env.registry import Registry
from steer_env.traces import SteeringTrace


class BanditAgent(Protocol):
    """Learns a table of scales from finished episodes, all of whose randomness comes from the generators it is given.

    ``counts``, ``means`` and ``deviations``, (R, 2, 10), say how often each bucket of each (round, stayed) was played
    and what it is thought to be worth, and ``meaning`` says what that worth is.
    """

    @property
    def settings(self) -> dict[str, Any]:
        """``kind``, a name of :data:`BANDITS`, and its arguments: what must be the same for a training to go on."""

    @property
    def counts(self) -> np.ndarray: ...

    @property
    def means(self) -> np.ndarray: ...

    @property
    def deviations(self) -> np.ndarray: ...

    @property
    def meaning(self) -> str: ...

    def explore(self, episodes: int, rng: np.random.Generator, training_seed: int = -1) -> SampledPolicy:
        """What to play in the next N episodes."""

    def update(self, traces: Sequence[SteeringTrace]) -> None:
        """Learn from the episodes that were played."""

    def policy(self, name: str, training_seed: int = -1) -> TablePolicy:
        """The best policy as far as is known."""

    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`, exactly as if it had never been left.

        Raises:
            ValueError: a state of another number of rounds, or of an agent with other features.
        """


BANDITS: Registry[Callable[..., BanditAgent]] = Registry(
    "kind of bandit", {"thompson": ThompsonSampling, "planning": PlanningThompson}
)


def make_bandit(rounds: int, settings: Mapping[str, Any]) -> BanditAgent:
    """A bandit from its settings, among which there may be others that aren't its own.

    Raises:
        ValueError: an unknown kind, or an argument out of range.
    """
    kind = BANDITS[settings["kind"]]
    own = [name for name in kind(rounds).settings if name != "kind"]
    return kind(rounds, **{name: settings[name] for name in own})
