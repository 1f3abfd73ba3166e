"""Preferential Bayesian optimisation by BoTorch: what it compares, what it believes, and what it offers."""

from typing import Any

import numpy as np
import pytest
import torch

from steer_env.mechanisms.directions import low_frequencies
from steer_env.mechanisms.mixtures import Mixture
from steer_env.mechanisms.options import QeuboOptions
from steer_env.mechanisms.qeubo import QeuboSteering, comparisons
from tests.steer_env.mechanisms.courses import SHAPE, history, likeness, preferred, randn

pytest.importorskip("botorch", reason="steer-env[qeubo] isn't installed")
# Images that are nearly the same make a covariance that needs the library's jitter; the mechanism is silent on it.
pytestmark = pytest.mark.filterwarnings("ignore:A not p.d.")


def qeubo(**options: Any) -> QeuboSteering:
    return QeuboSteering(SHAPE, QeuboOptions(**{"candidates": 16, "dimensions": 8, **options}))


@pytest.mark.parametrize("choices", [[0, 0, 0], [2, 0, 1], [0, 1, 0], [0, 0, 2], [1, 1, 0]])
@pytest.mark.parametrize("played", [0, 1, 2, 3])
def test_comparisons_are_those_of_the_course(choices: list[int], played: int) -> None:
    chosen = choices[:played] + [0] * (3 - played)
    rows = comparisons(history([chosen], [played]))[0]
    pairs = [(int(row.argmax()), int(row.argmin())) for row in rows if row.any()]
    assert pairs == preferred(chosen, played)
    assert set(rows.unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_each_image_is_a_single_point_and_the_posterior_orders_what_was_compared() -> None:
    """Where the third proposal was held for two rounds, it is one point, and better than what it was compared with."""
    course = history([[0, 1, 0, 0]], [4])
    rows = comparisons(course)[0].double()
    shown = course.proposals[0]
    points = torch.cat([shown.flatten(0, 1).flatten(1), shown[1, 0].flatten()[None]]).double()
    model = qeubo(dimensions=points.shape[1])._posterior(points, rows[rows.any(dim=1)])
    assert len(model.datapoints) == 8
    utilities = model.posterior(points).mean[:, 0].detach()
    for better, worse in preferred([0, 1, 0, 0], 4):
        assert utilities[better] > utilities[worse]


def test_the_first_round_is_the_mixtures() -> None:
    given = randn(1, *SHAPE), torch.tensor([0.7]), randn(1, 2, *SHAPE, seed=1), history([[0, 0]], [0])
    assert torch.equal(Mixture().propose(*given), qeubo().propose(*given))


def test_only_low_frequencies_are_chosen_and_differ_between_proposals() -> None:
    past, latents, noise = history([[2, 0, 0], [0, 0, 0]], [1, 3]), randn(2, *SHAPE), randn(2, 2, *SHAPE, seed=1)
    plain, found = (
        mechanism.propose(latents, torch.tensor([0.6, 0.9]), noise, past).flatten(2)
        for mechanism in (Mixture(), qeubo())
    )
    basis = torch.from_numpy(low_frequencies(SHAPE, 8))
    torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-6, rtol=0)
    low = (found - plain) @ basis.T
    torch.testing.assert_close(low @ basis, found - plain, atol=1e-5, rtol=0)
    assert (low.norm(dim=2) > 0.1).all()
    assert not torch.allclose(found[:, 0] @ basis.T, found[:, 1] @ basis.T, atol=0.1)


def test_the_first_proposal_is_the_analytic_eubo_of_a_pair() -> None:
    """Against BoTorch's closed form for the held image and one more."""
    from botorch.acquisition.preference import AnalyticExpectedUtilityOfBestOption

    course, mechanism = history([[0, 1, 0]], [3]), qeubo()
    basis = torch.from_numpy(low_frequencies(SHAPE, 8))
    points = course.proposals[0].flatten(0, 1).flatten(1) @ basis.T
    points, pairs = torch.cat([points, points[2:3]]), comparisons(course)[0]
    offers = randn(12, 8, seed=4)
    (best,) = mechanism._best(points, pairs, offers, 1, 0)
    model = mechanism._posterior(points.double(), pairs[pairs.any(dim=1)].double())
    exact = AnalyticExpectedUtilityOfBestOption(model, previous_winner=points[-1:].double())(offers[:, None].double())
    assert exact[best] > exact.amax() - 0.1 * exact.std()


def test_it_has_no_state_and_draws_from_the_seeds() -> None:
    past, latents, noise = history([[2, 0, 0]], [1]), randn(1, *SHAPE), randn(1, 2, *SHAPE, seed=1)
    mechanism, scales = qeubo(), torch.tensor([0.6])
    first = mechanism.propose(latents, scales, noise, past)
    past.seeds[0] += 1  # type: ignore[index]
    other = mechanism.propose(latents, scales, noise, past)
    past.seeds[0] -= 1  # type: ignore[index]
    assert torch.equal(mechanism.propose(latents, scales, noise, past), first)
    assert not torch.allclose(other, first, atol=0.1)


def test_it_brings_users_closer_who_judge_by_the_latents_themselves() -> None:
    whole = int(np.prod(SHAPE))
    assert likeness(qeubo(dimensions=whole, candidates=64), n=60) > likeness(Mixture(), n=60) + 0.015


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 1}, "candidates must be from 2 to 65536, got 1"),
        ({"dimensions": 31}, "dimensions must be 1 to 30, the size of a latent, got 31"),
        ({"length": 0}, "length must be from 0.01 to 100, got 0"),
        ({"temperature": -0.1}, "temperature must be from 0.01 to 100, got -0.1"),
    ],
)
def test_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        qeubo(**options)
