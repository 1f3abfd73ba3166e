import numpy as np
import pandas as pd
import pytest
from scipy import stats

from steer_env.evaluation.ratings import (
    COLUMNS,
    agreement,
    correlation,
    expected_votes,
    group_sizes,
    majority,
    ratings_sections,
    shuffle_variance,
)


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


def ratings(items: int, raters: int, noise: float, seed: int = 0) -> pd.DataFrame:
    """Four-point ratings of images by raters, some of whom miss some images; two images a person who steered."""
    rng = np.random.default_rng(seed)
    quality = rng.standard_normal(items)
    rows = [
        (item, f"rater-{rater}", f"person-{item // 2}", quality[item] + noise * rng.standard_normal(), quality[item])
        for item in range(items)
        for rater in range(raters)
        if rng.random() < 0.7
    ]
    frame = pd.DataFrame(rows, columns=["item", "rater", "person", "felt", "similarity"])
    return frame.assign(value=np.clip(np.round(frame["felt"] + 2.5), 1, 4))


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_agreement_is_that_of_the_library(level: str, noise: float) -> None:
    library = pytest.importorskip("krippendorff", reason="the library that α is checked against")
    frame = ratings(40, 5, noise)
    table = frame.pivot(index="rater", columns="item", values="value").to_numpy()
    found = agreement(frame, ["item"], "value", level, "person")
    assert found.value == pytest.approx(library.alpha(reliability_data=table, level_of_measurement=level))
    assert found.low < found.value < found.high


def test_who_agrees_has_one_and_who_guesses_has_none() -> None:
    frame = ratings(200, 4, 0.0).assign(value=lambda frame: frame["item"] % 4)
    assert agreement(frame, ["item"], "value", "ordinal", "person").value == pytest.approx(1)
    guesses = frame.assign(value=np.random.default_rng(1).integers(1, 5, len(frame)))
    found = agreement(guesses, ["item"], "value", "ordinal", "person")
    assert found.low < 0 < found.high


def test_one_rating_an_item_says_nothing_of_agreement() -> None:
    frame = ratings(10, 1, 1.0)
    assert np.isnan(agreement(frame, ["item"], "value", "nominal", "person").value)


def test_correlation_is_spearmans_and_wider_where_people_are_units() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 10)
    x = rng.standard_normal(30)[people] + 0.2 * rng.standard_normal(300)
    y = x + rng.standard_normal(30)[people]
    found = correlation(x, y, people)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    rows = correlation(x, y, np.arange(300))
    assert found.high - found.low > 1.5 * (rows.high - rows.low)


def test_majorities_are_clustered_by_the_person_who_steered() -> None:
    """Judgements of a person's images go together: sixteen votes are worth four."""
    rows = [(item, item // 4, float(item // 4 < 2)) for item in range(16) for _ in range(3)]
    frame = pd.DataFrame(rows, columns=["item", "person", "flag"])
    found = majority(frame, ["item"], "flag", "person")
    assert (found.estimate.value, found.estimate.episodes, found.estimate.freedom) == (0.5, 16, 3)
    assert found.estimate.error == pytest.approx(stats.sem([1, 1, 0, 0]))
    assert found.row_error == pytest.approx(stats.sem([1] * 8 + [0] * 8))
    assert found.spread == 0


def test_a_study_with_every_question_has_its_tables() -> None:
    satisfied = ratings(20, 4, 0.5).assign(question="satisfaction", attempt=lambda frame: frame["item"] % 5)
    chosen = satisfied.assign(question="improvement", attempt=np.nan, value=lambda frame: frame["value"] > 2)
    frame = pd.concat([satisfied, chosen.assign(value=chosen["value"].astype(float))])[list(COLUMNS)]
    first, shares = ratings_sections(frame)
    table = first.tables[0].set_index("question")
    assert table.loc["satisfaction", "by threes"] == "–"
    assert table.loc["improvement", "by threes"] != "–"
    assert table.loc["satisfaction", "ratings"] == len(satisfied)
    assert float(table.loc["satisfaction", "correlation"].split()[0]) > 0.7
    assert shares.tables[0]["attempt"].tolist() == [0, 1, 2, 3, 4, "all"]


def test_ratings_that_lack_something() -> None:
    with pytest.raises(ValueError, match="ratings lack the columns question"):
        ratings_sections(ratings(2, 2, 0).assign(attempt=0))
