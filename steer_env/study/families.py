"""Families of simulated users that are fitted to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steer_env.humans.choosers import Chooser, GreedyHuman, HesitantHuman, SoftmaxHuman

ANNOTATORS = 0.13
"""Temperature of the study's annotators, in units of DreamSim similarity."""
Population = tuple[Sequence[Chooser], Sequence[float]]
"""Members and their shares, which sum to 1."""


@dataclass(frozen=True)
class Family:
    """Users of one kind.

    Args:
        name: what tables call it.
        grids: by parameter, at most two, the values among which the best is first looked for, ascending.
        population: from a value of each parameter to users.
    """

    name: str
    grids: Mapping[str, np.ndarray]
    population: Callable[..., Population]


_TEMPERATURES, _STAYS = np.geomspace(0.005, 0.5, 25), np.linspace(-0.1, 0.7, 25)
BIASED = "softmax with a bias to stay"
GREEDY = Family("greedy", {}, lambda: ([GreedyHuman()], [1.0]))
FAMILIES = (
    GREEDY,
    Family("softmax", {"temperature": _TEMPERATURES}, lambda temperature: ([SoftmaxHuman(temperature)], [1.0])),
    Family(
        BIASED,
        {"temperature": _TEMPERATURES, "stay": _STAYS},
        lambda temperature, stay: ([SoftmaxHuman(temperature, stay)], [1.0]),
    ),
    Family("hesitant", {"threshold": np.linspace(0, 0.16, 81)}, lambda threshold: ([HesitantHuman(threshold)], [1.0])),
    Family(
        "mixture",
        {"noisy": np.linspace(0, 1, 21), "stay": _STAYS},
        lambda noisy, stay: ([GreedyHuman(), SoftmaxHuman(ANNOTATORS, stay)], [1 - noisy, noisy]),
    ),
)
"""In a mixture, a share ``noisy`` chooses at the annotators' temperature with a bias to stay; the others are greedy."""
