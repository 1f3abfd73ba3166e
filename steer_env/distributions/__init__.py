"""Steering distributions by name: how proposals are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steer_env.distributions.bayesian import BayesianSteering
from steer_env.distributions.memory import MemoryMixture
from steer_env.distributions.mixtures import AntitheticMixture, Mixture, OrthogonalMixture
from steer_env.distributions.predicted import LearnedSteering
from steer_env.distributions.preferential import PreferentialSteering
from steer_env.registry import Registry
from steer_env.types import Generator, Metric, SteeringDistribution

DISTRIBUTIONS: Registry[Callable[..., SteeringDistribution]] = Registry(
    "steering distribution",
    {
        "mixture": lambda generator, metric: Mixture(),
        "antithetic": lambda generator, metric: AntitheticMixture(),
        "orthogonal": lambda generator, metric: OrthogonalMixture(),
        "memory": lambda generator, metric, **options: MemoryMixture(**options),
        "preferential": lambda generator, metric, **options: PreferentialSteering(**options),
        "bayesian": BayesianSteering,
        "learned": LearnedSteering,
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
