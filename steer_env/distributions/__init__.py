"""Steering distributions by name: how proposals are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steer_env.distributions.bayesian import BayesianSteering
from steer_env.distributions.memory import MemoryMixture
from steer_env.distributions.mixtures import AntitheticMixture, Mixture, OrthogonalMixture
from steer_env.distributions.preferential import PreferentialSteering
from steer_env.registry import Registry
from steer_env.types import Metric, SteeringDistribution, Studio

DISTRIBUTIONS: Registry[Callable[..., SteeringDistribution]] = Registry(
    "steering distribution",
    {
        "mixture": lambda studio, metric: Mixture(),
        "antithetic": lambda studio, metric: AntitheticMixture(),
        "orthogonal": lambda studio, metric: OrthogonalMixture(),
        "memory": lambda studio, metric, **options: MemoryMixture(**options),
        "preferential": lambda studio, metric, **options: PreferentialSteering(**options),
        "bayesian": BayesianSteering,
    },
)


def load_distribution(name: str, studio: Studio, metric: Metric, **options: Any) -> SteeringDistribution:
    """A new steering distribution of that name; see its class for the options.

    Args:
        name: of :data:`DISTRIBUTIONS`.
        studio, metric: for mechanisms that make and compare images of their own.
        **options: of the distribution.

    Raises:
        ValueError: an unknown name or option value.
    """
    return DISTRIBUTIONS[name](studio, metric, **options)
