"""Options of steering mechanisms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class BayesianOptions:
    """Infers the goal from the choices, and offers the images that are expected to be of most use.

    Args:
        pool: P, number of hypotheses, and of images to offer.
        temperature: of the assumed user, in units of similarity.
        metric: compares images, a word or a mapping; empty for the one that the environment's user chooses by.
    """

    pool: int = 48
    temperature: float = 0.05
    metric: Any = ""


@dataclass
class PreferentialOptions:
    """Preferential Bayesian optimisation on the latent, a baseline that makes no images beyond those shown.

    Args:
        candidates: C, for each proposal.
        length: of the utility's covariance, exp((cos − 1) / length²).
        temperature: of the assumed user, in units of the utility's standard deviation.
    """

    candidates: int = 32
    length: float = 1.0
    temperature: float = 0.2
