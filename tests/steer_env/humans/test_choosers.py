from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats

from steer_env.humans import HUMANS, load_human
from steer_env.humans.choosers import (
    Chooser,
    GreedyHuman,
    HesitantHuman,
    MixtureHuman,
    NewestImageHuman,
    SoftmaxHuman,
)
from steer_env.testing import check_human

NOBODY = torch.zeros(1)
"""A person, for users who are all alike."""


@pytest.mark.parametrize("name", HUMANS)
def test_conformance(name: str) -> None:
    check_human(load_human(name))


def test_greedy_takes_the_most_similar_and_stays_on_a_tie() -> None:
    similarities = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    choices = GreedyHuman().choose(similarities, torch.zeros(1000, 4), NOBODY.expand(1000))
    assert torch.equal(choices, similarities.argmax(dim=1))
    assert GreedyHuman().choose(torch.full((1, 4), 0.3), torch.zeros(1, 4), NOBODY).tolist() == [0]


@pytest.mark.parametrize("stay", [0.0, 0.1, -0.2])
@pytest.mark.parametrize("temperature", [0.05, 0.13, 1.0])
def test_softmax_choices_have_bradley_terry_frequencies(temperature: float, stay: float) -> None:
    similarities, n = np.array([0.5, 0.55, 0.42]), 40_000
    draws = torch.rand(n, 3, generator=torch.Generator().manual_seed(1))
    choices = SoftmaxHuman(temperature, stay).choose(
        torch.from_numpy(similarities).expand(n, 3), draws, NOBODY.expand(n)
    )
    counts = np.bincount(choices.numpy(), minlength=3)
    assert (
        stats.chisquare(counts, n * special.softmax((similarities + np.array([stay, 0, 0])) / temperature)).pvalue
        > 1e-4
    )


def test_extreme_draws_are_still_choices() -> None:
    draws = torch.tensor([[0.0, 0.5, 1 - 2**-24], [0.0, 0.0, 0.0]])
    assert set(SoftmaxHuman().choose(torch.full((2, 3), 0.5), draws, NOBODY.expand(2)).tolist()) <= {0, 1, 2}


def test_a_hesitant_user_moves_only_beyond_the_just_noticeable_difference() -> None:
    similarities = torch.tensor([[0.50, 0.51, 0.40], [0.50, 0.53, 0.55], [0.50, 0.40, 0.30]])
    assert HesitantHuman(0.02).choose(similarities, torch.zeros(3, 3), NOBODY.expand(3)).tolist() == [0, 2, 0]
    assert HesitantHuman(0.0).choose(similarities, torch.zeros(3, 3), NOBODY.expand(3)).tolist() == [1, 2, 0]


def test_errors() -> None:
    with pytest.raises(ValueError, match="temperature must be from 1e-06 to 1000000, got 0"):
        load_human("softmax", temperature=0)
    with pytest.raises(ValueError, match="stay must be a finite number, got nan"):
        load_human("softmax", stay=float("nan"))
    with pytest.raises(ValueError, match="threshold must be from 0 to 100, got -1"):
        load_human("hesitant", threshold=-1)
    with pytest.raises(ValueError, match="unknown human 'greed'; did you mean 'greedy'"):
        load_human("greed")


def test_who_writes_prompts_goes_on_with_the_newest_image() -> None:
    check_human(NewestImageHuman(), proposals=1)
    similarities = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    assert NewestImageHuman().choose(similarities, torch.rand(2, 2), NOBODY.expand(2)).tolist() == [1, 1]


def test_traces_tell_biased_users_apart() -> None:
    assert load_human("softmax", temperature=0.05).id == "softmax-0.05"
    assert load_human("softmax", temperature=0.05, stay=0.1).id == "softmax-0.05-stay+0.1"


@pytest.mark.parametrize(
    "human", [GreedyHuman(), SoftmaxHuman(0.1, 0.05), HesitantHuman(0.1)], ids=lambda human: human.id
)
def test_choices_are_drawn_with_the_probabilities_that_are_told(human: Chooser) -> None:
    rng = torch.Generator().manual_seed(2)
    similarities, n = torch.rand(20, 3, generator=rng), 4000
    probabilities = human.probabilities(similarities)
    assert probabilities.sum(dim=1).numpy() == pytest.approx(np.ones(20), abs=1e-6)
    for row, expected in zip(similarities, probabilities.double().numpy(), strict=True):
        draws = torch.rand(n, 3, generator=rng)
        counts = np.bincount(human.choose(row.expand(n, 3), draws, NOBODY.expand(n)).numpy(), minlength=3)
        assert np.abs(counts / n - expected).max() < 5 * 0.5 / n**0.5


POPULATION = [{"name": "greedy", "weight": 3}, {"name": "hesitant", "weight": 1, "threshold": 9}]
"""A quarter of it never moves."""


def test_a_population_has_its_members_in_their_shares() -> None:
    human, n = load_human("mixture", members=POPULATION), 4000
    persons = torch.rand(n, generator=torch.Generator().manual_seed(3))
    choices = human.choose(torch.tensor([[0.1, 0.2, 0.3]]).expand(n, 3), torch.rand(n, 3), persons)
    assert torch.equal(choices, torch.where(persons < 0.75, 2, 0)), "by the person alone, whatever is drawn in a round"
    assert human.id == "0.75 greedy + 0.25 hesitant-9"
    assert load_human("mixture:members=[greedy:weight=3, {name: hesitant, threshold: 9}]").id == human.id
    ends = human.choose(torch.tensor([[0.1, 0.2, 0.3]]).expand(2, 3), torch.rand(2, 3), torch.tensor([0.0, 1.0]))
    assert ends.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], r"members must be entries such as {name: greedy, weight: 0.5}, got \[\]"),
        ([1], "members must be entries"),
        (["gredy"], "unknown member of a population 'gredy'; did you mean 'greedy'"),
        ([{"weight": 1}], "doesn't name a part: add its name"),
        ([{"name": "mixture"}], "unknown member of a population 'mixture'"),
        ([{"name": "greedy", "weight": 0}], "weight of member 'greedy' must be from 1e-09 to 1e.09, got 0"),
        (
            [{"name": "softmax", "weight": float("nan")}],
            "weight of member 'softmax' must be from 1e-09 to 1e.09, got nan",
        ),
        ([{"name": "softmax", "temprature": 1}], "unknown option of .* 'temprature'; did you mean 'temperature'"),
        ([{"name": "softmax", "temperature": -1}], "temperature must be from 1e-06 to 1000000, got -1"),
    ],
)
def test_a_population_that_cant_be_is_refused(members: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixtureHuman(members)
