import os
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.headlines.report import agreement, people_section, score
from experiments.headlines.rollout import OVERLAP
from experiments.run.released.files import load_source
from experiments.run.released.headlines import headline_sessions, session_ratings
from tests.experiments.run.headlines.scripted import Colours

STUDY = os.environ.get("STEER_ENV_STUDY", "")


class Letters(Colours):
    """Colours for some of the capital letters."""

    id = "letters"

    def embed(self, texts):  # type: ignore[no-untyped-def]
        return super().embed([text.replace("D", "red ").replace("R", "green ").replace("L", "red ") for text in texts])


def test_people_are_scored_and_rated(release: Path) -> None:
    sessions = headline_sessions(release)
    traces = score(sessions, Letters())
    assert {trace.metric for trace in traces} == {"letters"}
    assert traces[0].similarities[0] == pytest.approx(0.5**0.5), "red and green against red"
    assert list(traces[0].judged) == ["word-overlap"]
    ratings = session_ratings(sessions, load_source(release, "llm_ratings"))
    assert ratings.shape == (19, 5)
    assert np.isfinite(ratings).sum(axis=0).tolist() == [10, 0, 0, 0, 0], "two of a model's sessions, first attempts"
    assert set(ratings[np.isfinite(ratings)]) == {2.5}
    people, raters = people_section(sessions, traces, ratings).tables
    assert people["sessions"].tolist() == ["4"] * 4 + ["3", "19"]
    assert set(people["% improved"]) == {"0.0% (0.0%)"}
    assert raters.to_numpy().tolist() == [["letters", 10, "–", "–"], ["word-overlap", 10, "–", "–"]]


def test_agreement_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    similarities = rng.random((60, 5))
    ratings = np.where(rng.random((60, 5)) < 0.3, np.nan, similarities**3)
    assert astuple(agreement(similarities, ratings)) == pytest.approx((1, 1, 1))
    assert agreement(-similarities, ratings).value == pytest.approx(-1)
    noisy = np.where(np.isnan(ratings), ratings, rng.integers(1, 5, (60, 5)))
    found = agreement(similarities, noisy)
    rated = np.isfinite(noisy)
    assert found.value == pytest.approx(stats.spearmanr(similarities[rated], noisy[rated]).statistic)
    assert found.low < min(found.value, 0) <= max(found.value, 0) < found.high


def test_sessions_are_what_is_resampled() -> None:
    """Attempts of a session that say the same narrow the interval no more than one of them does."""
    rng = np.random.default_rng(2)
    one, rated = rng.random((40, 1)), rng.random((40, 1))
    five = agreement(np.tile(one, 5), np.tile(rated, 5))
    assert astuple(agreement(one, rated)) == pytest.approx(astuple(five))


@pytest.mark.skipif(not STUDY, reason="STEER_ENV_STUDY doesn't name a folder with the released study")
def test_most_of_the_released_attempts_are_rated() -> None:
    sessions = headline_sessions(Path(STUDY))
    ratings = session_ratings(sessions, load_source(Path(STUDY), "llm_ratings"))
    assert ratings.shape == (88, 5)
    assert np.isfinite(ratings).sum() == 371
    overlaps = np.array([trace.judged[OVERLAP] for trace in score(sessions, Letters())])
    assert astuple(agreement(overlaps, ratings)) == pytest.approx((0.219, 0.100, 0.326), abs=5e-4)
    assert 1 <= np.nanmin(ratings) <= np.nanmax(ratings) <= 4
