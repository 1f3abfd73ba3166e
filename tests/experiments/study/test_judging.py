import numpy as np
import pytest

from experiments.study.judging import expected_votes, group_sizes, shuffle_variance


def shuffled_votes(judgements: int, favourable: int, shuffles: int) -> np.ndarray:
    """Groups with a majority in favour, int (shuffles,), as the authors count them."""
    rng = np.random.default_rng(0)
    flags = np.arange(judgements) < favourable
    cuts = np.cumsum(group_sizes(judgements))[:-1]
    return np.array(
        [sum(2 * part.sum() > len(part) for part in np.split(rng.permutation(flags), cuts)) for _ in range(shuffles)]
    )


@pytest.mark.parametrize(("judgements", "favourable"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 5), (11, 4)])
def test_expectation_and_variance_are_those_of_shuffling(judgements: int, favourable: int) -> None:
    votes = shuffled_votes(judgements, favourable, 4000)
    variance = shuffle_variance(judgements, favourable)
    assert sum(expected_votes(judgements, favourable)) == pytest.approx(votes.mean(), abs=4 * (variance / 4000) ** 0.5)
    assert variance == pytest.approx(votes.var(), rel=0.15, abs=1e-9)


def test_a_tied_pair_counts_against() -> None:
    assert expected_votes(2, 1) == (0.0,)


@pytest.mark.parametrize("favourable", [0, 7])
def test_agreement_leaves_nothing_to_the_shuffle(favourable: int) -> None:
    assert expected_votes(7, favourable) == pytest.approx([favourable / 7] * 3)
    assert shuffle_variance(7, favourable) == pytest.approx(0)
