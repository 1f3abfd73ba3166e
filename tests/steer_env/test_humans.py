import numpy as np
import pytest
import torch
from scipy import special, stats

from steer_env.humans import HUMANS, GreedyHuman, HesitantHuman, SoftmaxHuman, Writer, load_human
from steer_env.testing import check_human


@pytest.mark.parametrize("name", HUMANS)
def test_conformance(name: str) -> None:
    check_human(load_human(name))


def test_greedy_takes_the_most_similar_and_stays_on_a_tie() -> None:
    similarities = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    choices = GreedyHuman().choose(similarities, torch.zeros(1000, 4))
    assert torch.equal(choices, similarities.argmax(dim=1))
    assert GreedyHuman().choose(torch.full((1, 4), 0.3), torch.zeros(1, 4)).tolist() == [0]


@pytest.mark.parametrize("stay", [0.0, 0.1, -0.2])
@pytest.mark.parametrize("temperature", [0.05, 0.13, 1.0])
def test_softmax_choices_have_bradley_terry_frequencies(temperature: float, stay: float) -> None:
    similarities, n = np.array([0.5, 0.55, 0.42]), 40_000
    draws = torch.rand(n, 3, generator=torch.Generator().manual_seed(1))
    choices = SoftmaxHuman(temperature, stay).choose(torch.from_numpy(similarities).expand(n, 3), draws)
    counts = np.bincount(choices.numpy(), minlength=3)
    assert (
        stats.chisquare(counts, n * special.softmax((similarities + np.array([stay, 0, 0])) / temperature)).pvalue
        > 1e-4
    )


def test_extreme_draws_are_still_choices() -> None:
    draws = torch.tensor([[0.0, 0.5, 1 - 2**-24], [0.0, 0.0, 0.0]])
    assert set(SoftmaxHuman().choose(torch.full((2, 3), 0.5), draws).tolist()) <= {0, 1, 2}


def test_a_hesitant_user_moves_only_beyond_the_just_noticeable_difference() -> None:
    similarities = torch.tensor([[0.50, 0.51, 0.40], [0.50, 0.53, 0.55], [0.50, 0.40, 0.30]])
    assert HesitantHuman(0.02).choose(similarities, torch.zeros(3, 3)).tolist() == [0, 2, 0]
    assert HesitantHuman(0.0).choose(similarities, torch.zeros(3, 3)).tolist() == [1, 2, 0]


def test_errors() -> None:
    with pytest.raises(ValueError, match="temperature must be positive, got 0; the limit of 0 is the greedy human"):
        load_human("softmax", temperature=0)
    with pytest.raises(ValueError, match="stay must be a finite number, got nan"):
        load_human("softmax", stay=float("nan"))
    with pytest.raises(ValueError, match="threshold must not be negative, got -1"):
        load_human("hesitant", threshold=-1)
    with pytest.raises(ValueError, match="unknown human 'greed'; did you mean 'greedy'"):
        load_human("greed")


def test_who_writes_prompts_goes_on_with_the_newest_image() -> None:
    check_human(Writer(), proposals=1)
    assert Writer().choose(torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.rand(2, 2)).tolist() == [1, 1]


def test_traces_tell_biased_users_apart() -> None:
    assert load_human("softmax", temperature=0.05).id == "softmax-0.05"
    assert load_human("softmax", temperature=0.05, stay=0.1).id == "softmax-0.05-stay+0.1"
