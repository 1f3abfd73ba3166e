"""Users are found again from stays that they themselves made, on games of similarities drawn at random."""

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
import torch

from experiments.fit_users.fitting import ANNOTATORS, FAMILIES, Fitter, Profile
from experiments.fit_users.people import Stays, observed_stays
from experiments.fit_users.report import fit_users, users_report
from experiments.fit_users.reweighting import POPULATION, Games, course, predict
from experiments.run.released.files import StudyError
from steer_env.humans.choosers import Chooser, GreedyHuman, HesitantHuman, MixtureHuman, SoftmaxHuman
from steer_env.traces import SteeringTrace
from steer_env.types import Human
from tests.markdown import compact

ROUNDS = 4
THIN = tuple(replace(each, grids={name: grid[::3] for name, grid in each.grids.items()}) for each in FAMILIES)
"""With coarser grids, which is quicker."""


def played(human: Human, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Similarities (n, R, 3) and choices (n, R) of games in which each image is a fresh draw near the one held."""
    rng = torch.Generator().manual_seed(seed)
    held, persons = torch.rand(n, generator=rng, dtype=torch.float64), torch.rand(n, generator=rng)
    similarities, choices = [], []
    for _ in range(ROUNDS):
        offered = 0.3 + 0.5 * held[:, None] + 0.15 * torch.randn(n, 2, generator=rng, dtype=torch.float64)
        shown = torch.cat([held[:, None], offered], dim=1)
        choice = human.choose(shown, torch.rand(n, 3, generator=rng), persons)
        held = shown.gather(1, choice[:, None])[:, 0]
        similarities.append(shown.numpy())
        choices.append(choice.numpy())
    return np.stack(similarities, axis=1), np.stack(choices, axis=1)


@pytest.fixture(scope="module")
def games() -> Games:
    human = MixtureHuman(POPULATION)
    similarities, choices = played(human, 500)
    likelihoods = [course(member, similarities, choices)[0] for member in human.members]
    return Games(similarities, choices, np.average(likelihoods, axis=0, weights=human.weights))


def people(human: Human, sessions: int = 1000, policy: str = "published") -> Stays:
    """Sessions of simulated people, two each."""
    _, choices = played(human, sessions, seed=1)
    return observed_stays([session(f"person-{i // 2}", row, policy) for i, row in enumerate(choices.tolist())])


def session(person: str, choices: list[int], policy: str = "published", suite: str = "study-image") -> SteeringTrace:
    parts: dict[str, Any] = {
        "mechanism": "mixture",
        "generator": "g",
        "metric": "none",
        "goal_prompt": "",
        "prompt": "",
    }
    seeds = {"goal_seed": -1, "initial_seed": -1, "episode_seed": -1, "training_seed": -1}
    course: dict[str, Any] = {"scales": [0.5] * len(choices), "similarities": [np.nan] * (1 + len(choices))}
    return SteeringTrace(
        suite=suite, task_index=0, policy=policy, human=person, choices=choices, prompts=[], **parts, **seeds, **course
    )


USERS = [
    ([GreedyHuman()], [1.0]),
    ([SoftmaxHuman(0.1)], [1.0]),
    ([SoftmaxHuman(0.3, 0.2)], [1.0]),
    ([HesitantHuman(0.05)], [1.0]),
    ([GreedyHuman(), HesitantHuman(0.2)], [0.7, 0.3]),
]


@pytest.mark.parametrize(
    ("members", "weights"), USERS, ids=lambda value: "+".join(str(getattr(x, "id", x)) for x in value)
)
def test_reweighted_games_predict_the_stays_of_games_of_ones_own(
    games: Games, members: list[Chooser], weights: list[float]
) -> None:
    found = predict(games, members, weights)
    parts = [played(member, 20_000, seed=5)[1] == 0 for member in members]
    own = np.average([part.mean(axis=0) for part in parts], axis=0, weights=weights)
    errors = np.sqrt(np.diag(found.covariance) + 0.25 / 20_000)
    assert (np.abs(found.shares - own) < 4 * errors).all()
    assert 20 < found.effective <= 500


def test_the_covariance_is_that_of_repeated_simulations() -> None:
    human, greedy = MixtureHuman(POPULATION), ([GreedyHuman()], [1.0])
    found = []
    for seed in range(60):
        similarities, choices = played(human, 300, seed=seed)
        likelihood = np.average(
            [course(m, similarities, choices)[0] for m in human.members], axis=0, weights=human.weights
        )
        found.append(predict(Games(similarities, choices, likelihood), *greedy))
    spread = np.std([each.shares for each in found], axis=0, ddof=1)
    stated = np.sqrt(np.mean([np.diag(each.covariance) for each in found], axis=0))
    assert spread == pytest.approx(stated, rel=0.35)


@pytest.mark.parametrize(
    ("family", "human", "truth"),
    [
        ("softmax", SoftmaxHuman(0.1), {"temperature": 0.1}),
        ("softmax with a bias to stay", SoftmaxHuman(0.05, 0.08), {"temperature": 0.05, "stay": 0.08}),
        ("hesitant", HesitantHuman(0.06), {"threshold": 0.06}),
        (
            "mixture",
            MixtureHuman(
                [
                    {"name": "greedy", "weight": 0.6},
                    {"name": "softmax", "weight": 0.4, "temperature": ANNOTATORS, "stay": 0.3},
                ]
            ),
            {"noisy": 0.4, "stay": 0.3},
        ),
    ],
)
def test_a_user_is_found_again(games: Games, family: str, human: Human, truth: dict[str, float]) -> None:
    (chosen,) = (each for each in THIN if each.name == family)
    fit = Fitter(chosen, {"published": games}).fit(people(human))
    assert fit.p_value > 0.01
    assert fit.freedom == ROUNDS - len(truth)
    for name, value in truth.items():
        _, low, high = astuple(fit.interval(name))
        assert low < fit.values[name] < high
        assert abs(value - fit.values[name]) < 4 * (high - low) / 2


def test_users_of_another_kind_are_told_from(games: Games) -> None:
    stays = people(SoftmaxHuman(0.3, 0.1))
    fits = {family.name: Fitter(family, {"published": games}).fit(stays) for family in THIN[:4]}
    assert fits["greedy"].p_value < 1e-6
    assert fits["softmax"].p_value < 1e-6
    assert fits["softmax with a bias to stay"].p_value > 0.01


def test_a_just_noticeable_difference_never_fits_worse_than_none(games: Games) -> None:
    stays = people(HesitantHuman(0.03), sessions=300)
    hesitant, greedy = (Fitter(THIN[place], {"published": games}).fit(stays) for place in (3, 0))
    assert hesitant.chi2 <= greedy.chi2 + 1e-6


def test_intervals_end_where_chi2_has_risen_by_one_or_at_the_bound_of_the_search() -> None:
    values = np.linspace(0, 4, 41)
    parabola = Profile(values, ((values - 1) / 0.5) ** 2 + 3, np.full(41, np.nan))
    assert astuple(parabola.interval(1.0, 3.0)) == pytest.approx((1.0, 0.5, 1.5), abs=0.01)
    flat = Profile(values, np.full(41, 3.0), np.full(41, np.nan))
    assert astuple(flat.interval(1.0, 3.0)) == (1.0, 0.0, 4.0)
    coarse = Profile(values[::8], parabola.chi2[::8], parabola.others[::8])
    assert astuple(coarse.interval(1.0, 3.0)) == pytest.approx((1.0, 0.5, 1.5), abs=0.01)


def test_a_persons_sessions_are_dependent() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, (12, ROUNDS)).tolist()
    once = observed_stays([session(f"p{i}", row) for i, row in enumerate(rows)])
    twice = observed_stays([session(f"p{i}", row) for i, row in enumerate(rows) for _ in range(2)])
    assert np.allclose(once.covariance, twice.covariance), "the same answers again tell nothing new"
    assert np.allclose(once.errors[0], (np.array(rows) == 0).std(axis=0, ddof=1) / 12**0.5)
    assert once.likeness is None
    assert twice.likeness is not None
    assert twice.likeness.value == pytest.approx(1)


def test_different_people_are_noticed() -> None:
    alike = people(GreedyHuman(), 2000).likeness
    assert alike is not None
    assert abs(alike.value) < 4 * alike.error
    choices = [[0] * ROUNDS, [1] * ROUNDS]
    apart = observed_stays([session(f"p{i // 2}", choices[i // 2 % 2]) for i in range(40)]).likeness
    assert apart is not None
    assert apart.value == pytest.approx(1)


def test_conditions_stand_side_by_side_and_people_in_both_tie_them() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, (12, ROUNDS)).tolist()
    same = [session(f"p{i}", row, suite=suite) for suite in ("one", "two") for i, row in enumerate(rows)]
    stays = observed_stays(same)
    block = stays.alone(0).covariance
    assert stays.conditions == ["one", "two"]
    assert np.allclose(stays.covariance, np.block([[block, block], [block, block]]))
    others = observed_stays([*same[:12], *(session(f"q{i}", row, suite="two") for i, row in enumerate(rows))])
    assert np.allclose(others.covariance, np.block([[block, 0 * block], [0 * block, block]]))


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ([], r"must have one number of rounds, found \[\]"),
        ([[0, 1], [0, 1, 2]], r"one number of rounds, found \[2, 3\]"),
        ([[0, 1]] * 2, "study-image: the covariance of 2 rounds needs more people than 2"),
    ],
)
def test_sessions_that_allow_no_fit_are_refused(sessions: list[list[int]], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        observed_stays([session(f"p{i}", choices) for i, choices in enumerate(sessions)])


def test_the_report_says_what_fits_and_what_cant_be_told(games: Games, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.fit_users.report.FAMILIES", THIN)
    choices = played(HesitantHuman(0.05), 80, seed=2)[1].tolist()
    rows = [session(f"p{i // 2}", row, suite=("one", "two")[i // 40]) for i, row in enumerate(choices)]
    fitted = fit_users(observed_stays(rows), {"published": games})
    assert list(fitted.fits) == ["one", "two", "all"]
    report = users_report(fitted, "Games of a test.")
    markdown = compact(report.markdown())
    assert "two (40 sessions of 20 people)" in markdown
    for family in FAMILIES:
        assert f"| {family.name} |" in markdown
    assert [len(section.figures) for section in report.sections] == [1, 0, 0, 0]
    shares = fitted.record()["all"]["hesitant"]["shares"]["published"]
    assert all(0 <= share <= 1 for share in shares)
    assert fitted.likeness(fitted.fits["all"][0]) == 0
    assert fitted.likeness(fitted.fits["all"][-1]) > 0
