"""Steering mechanisms by name: how proposals are drawn; and by name what a policy may decide of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steer_env.mechanisms.options import (
    BayesianOptions,
    DirectionsOptions,
    FeedbackOptions,
    LearnedOptions,
    ProposalsOptions,
    QeuboOptions,
)
from steer_env.metrics import load_metric
from steer_env.registry import AUTO, NoOptions, Part, Parts, Registry, Spec, own_part, parse_spec, resolve
from steer_env.types import Mechanism, Studio

MECHANISMS: Parts = Registry(
    "mechanism",
    {
        "mixture": Part(NoOptions, "steer_env.mechanisms.mixtures:Mixture"),
        "fresh": Part(NoOptions, "steer_env.mechanisms.mixtures:Fresh"),
        "feedback": Part(FeedbackOptions, "steer_env.mechanisms.predicted:FeedbackSteering"),
        "qeubo": Part(QeuboOptions, "steer_env.mechanisms.qeubo:QeuboSteering"),
        "bayesian": Part(BayesianOptions, "steer_env.mechanisms.bayesian:BayesianSteering"),
        "learned": Part(LearnedOptions, "steer_env.mechanisms.predicted:LearnedSteering"),
    },
)
ACTIONS: Parts = Registry(
    "kind of action",
    {
        "bucket": Part(NoOptions, ""),
        "scale": Part(NoOptions, ""),
        "directions": Part(DirectionsOptions, "steer_env.mechanisms.directions:DirectionSteering"),
        "proposals": Part(ProposalsOptions, "steer_env.mechanisms.directions:LatentSteering"),
    },
)
"""One of 10 mixture scales, a mixture scale in [0, 1], or what a mechanism of its own takes, which is then a track."""
SCALES = ("bucket", "scale")


def load_mechanism(
    spec: Spec[Mechanism], studio: Studio, device: str = AUTO, dtype: str = AUTO, **shared: Any
) -> Mechanism:
    """A new mechanism of a spec such as ``bayesian:pool=96``; a mechanism itself is returned unchanged.

    Args:
        spec: see :func:`steer_env.registry.parse_spec`.
        studio: for mechanisms that make and compare images of their own, by its metric or by one that they name.
        device, dtype: of a metric that its options name.
        **shared: objects that mechanisms may share, such as the pools of images of :class:`BayesianSteering`.

    Raises:
        ValueError: an unknown name or option, or a value that an option can't have.
        ImportError: the optional package that it needs isn't installed.
    """
    if not isinstance(spec, str | Mapping):
        return own_part("mechanism", spec, "id", "extra_images", "propose")
    part, chosen = resolve(MECHANISMS, spec)
    own = getattr(chosen, "metric", "")
    if not isinstance(own, str | Mapping):
        raise ValueError(f"metric of mechanism {parse_spec(spec)[0]!r} must be a word or a mapping, got {own!r}")
    metric = load_metric(own, device, dtype) if own else studio.metric
    shape = tuple(studio.generator.latent_shape)
    mechanism: Mechanism = part.make(chosen, studio=studio, shape=shape, metric=metric, **shared)
    return mechanism
