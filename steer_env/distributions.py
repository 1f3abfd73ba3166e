"""Steering distributions by name: how proposals are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steer_env.bayesian import BayesianSteering
from steer_env.memory import MemoryMixture
from steer_env.preferential import PreferentialSteering
from steer_env.proposals import AntitheticMixture, Mixture, OrthogonalMixture
from steer_env.registry import Registry
from steer_env.types import Generator, Metric, SteeringDistribution


class _Bayesian(BayesianSteering):
    """With its cost: the pool, and the first image once more."""

    def __init__(self, generator: Generator, metric: Metric, **options: Any) -> None:
        super().__init__(generator, metric, **options)
        self.extra_images = self.pool + 1


DISTRIBUTIONS: Registry[Callable[..., SteeringDistribution]] = Registry(
    "steering distribution",
    {
        "mixture": lambda generator, metric: Mixture(),
        "antithetic": lambda generator, metric: AntitheticMixture(),
        "orthogonal": lambda generator, metric: OrthogonalMixture(),
        "memory": lambda generator, metric, **options: MemoryMixture(**options),
        "preferential": lambda generator, metric, **options: PreferentialSteering(**options),
        "bayesian": _Bayesian,
    },
)


def load_distribution(name: str, generator: Generator, metric: Metric, **options: Any) -> SteeringDistribution:
    """A new steering distribution of that name; see its class for the options.

    Args:
        name: of :data:`DISTRIBUTIONS`.
        generator, metric: for mechanisms that make and compare images of their own.
        **options: of the distribution.

    Raises:
        ValueError: an unknown name or option value.
    """
    return DISTRIBUTIONS[name](generator, metric, **options)
