"""Options of steering mechanisms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from steer_env.limits import Limited, option


@dataclass
class BayesianOptions(Limited):
    """Infers the goal from the choices, and offers the images that are expected to be of most use.

    Args:
        pool: P, number of hypotheses, and of images to offer.
        temperature: of the assumed user, in units of similarity.
        metric: compares images, a word or a mapping; empty for the one that the environment's user chooses by.
        preview_steps: denoiser passes of an image of the pool, without guidance; 0 for images in full.
        ahead: how many promising candidates are compared by what they are worth after the user's answer and one more
            candidate, in all rounds but the last; 0 goes by what a round itself is worth.
    """

    pool: int = option(48, least=2, most=8192)
    temperature: float = option(0.05, least=1e-6, most=1e6)
    metric: Any = ""
    preview_steps: int = option(0, least=0, most=1000)
    ahead: int = option(0, least=0, most=8192)


@dataclass
class LearnedOptions(Limited):
    """The same over images that are predicted, at no image beyond those that are shown.

    Args:
        pool: P, number of hypotheses, and of images to offer.
        temperature: of the assumed user, in units of similarity.
        metric: that the predictor knows; empty for the one that the environment's user chooses by.
        ahead: as for the Bayesian mechanism.
        predictor: folder of a predictor with a manifest; empty for the embedded model's.
    """

    pool: int = option(256, least=2, most=8192)
    temperature: float = option(0.03, least=1e-6, most=1e6)
    metric: Any = ""
    ahead: int = option(24, least=0, most=8192)
    predictor: str = ""


@dataclass
class FeedbackOptions(Limited):
    """Offers the images that are predicted to look like what was taken, and unlike what wasn't, without a belief.

    Args:
        pool: P, number of images to offer.
        weight: of what wasn't taken.
        metric, predictor: as for the learned mechanism.
    """

    pool: int = option(256, least=2, most=8192)
    weight: float = option(0.5, least=0, most=1000)
    metric: Any = ""
    predictor: str = ""


@dataclass
class QeuboOptions(Limited):
    """Preferential Bayesian optimisation on the latent by BoTorch, at no image beyond those that are shown.

    Args:
        candidates: C, to choose a round's proposals from.
        dimensions: d, of the subspace of low frequencies.
        length: of the utility's covariance, exp(−|x − y|² / (2 d length²)).
        temperature: of the assumed user, in units of the utility's standard deviation.
    """

    candidates: int = option(256, least=2, most=65536)
    dimensions: int = option(32, least=1, most=1_000_000)
    length: float = option(1.0, least=0.01, most=100)
    temperature: float = option(0.2, least=0.01, most=100)


@dataclass
class DirectionsOptions(Limited):
    """Proposals that a policy directs along low frequencies of the latent.

    Args:
        dimensions: d, coordinates of each proposal.
        leash: from 0, a policy decides nothing of them, to less than 1: how far it may decide them.
    """

    dimensions: int = option(32, least=1, most=1_000_000)
    leash: float = option(0.9, least=0, most=0.9999)


@dataclass
class ProposalsOptions(Limited):
    """Proposals that are a policy's own latents.

    Args:
        leash: how long they may be, in units of a typical latent's length; 0 for any.
    """

    leash: float = option(1.0, least=0, most=1000)
