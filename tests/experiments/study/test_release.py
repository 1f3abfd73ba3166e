"""The real release, where STEER_ENV_STUDY names its folder: what reproduces must go on to, to the printed digit."""

import os
from pathlib import Path

import pandas as pd
import pytest

from experiments.run.released.files import Study, load_study
from experiments.run.released.sessions import rounds_by_file, study_traces
from experiments.study.report import study_report, study_tables
from tests.markdown import compact

FOLDER = os.environ.get("STEER_ENV_STUDY", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="STEER_ENV_STUDY doesn't name a folder with the released study")


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(Path(FOLDER))


@pytest.fixture(scope="module")
def tables(study: Study) -> dict[str, pd.DataFrame]:
    return {title: table for title, _, table in study_tables(study)}


@pytest.mark.parametrize(
    ("title", "measure", "number"),
    [
        ("Size of the study", "number", 6),
        ("Similarity by model (Table 2)", "dreamsim", 11),
        ("Similarity by model (Table 2)", "clip_similarity", 11),
        ("Choosing seeds (Table 5)", "not choosing seed", 6),
        ("Choosing guidance (Table 6)", "without guidance", 6),
        ("Prompt engineers (Table 7)", "regular users", 6),
        ("LLM steering (Table 3)", "satisfaction", 6),
    ],
)
def test_values_and_errors_are_the_papers(
    tables: dict[str, pd.DataFrame], title: str, measure: str, number: int
) -> None:
    chosen = tables[title][tables[title]["measure"] == measure]
    assert chosen["agrees"].tolist() == ["yes"] * number


def test_shares_are_the_papers(tables: dict[str, pd.DataFrame]) -> None:
    blind = tables["Blind steering (Figure 3, right)"].set_index(["row", "measure"])
    for k in (4, 20):
        assert blind.loc[(f"{k} rewrites", "share of people's"), "agrees"] == "yes"
    assert tables["Satisfaction (Section 3, B.2)"]["agrees"].tolist() == ["yes"] * 3 + ["no"], "B.2 rounds 17.8 % to 17"


def test_the_papers_overall_error_in_table_3_is_a_standard_deviation(tables: dict[str, pd.DataFrame]) -> None:
    llm = tables["LLM steering (Table 3)"]
    very = llm[llm["measure"] == "very satisfied"]
    assert very["agrees"].tolist() == ["yes"] * 5 + ["value"]
    assert "standard deviation: ours is 0.38" in very["note"].iloc[-1]


def test_the_numbers_of_votes_by_threes_are_those_behind_the_authors_errors(
    tables: dict[str, pd.DataFrame], study: Study
) -> None:
    """A vote's standard error √(p (1 − p) / (n − 1)) gives n away: 142 votes for DALL-E 2's improvement, and so on."""
    theirs = study.files["summary_metrics"].set_index("model")
    ours = tables["The same by model"].set_index(["measure", "row"])["rows"]
    columns = {"improvement": "last_over_first", "POM-1": "first_matches_ref", "POM-5": "last_matches_ref"}
    for measure, column in columns.items():
        share, error = theirs[f"{column}_avg"], theirs[f"{column}_sem"]
        implied = (1 + share * (1 - share) / error**2).drop("Overall").round().astype(int)
        assert ours[f"{measure}, by threes"].to_dict() == implied.to_dict()


def test_rates_that_hang_on_an_unseeded_shuffle_are_near_the_papers(tables: dict[str, pd.DataFrame]) -> None:
    judged = tables["Improvement, POM-1 and POM-5 (Figure 3, left)"].set_index("measure")
    for measure in ("improvement", "POM-1"):
        assert judged.loc[f"{measure}, by threes", "agrees"] in ("yes", "within 2 s.d. of the shuffle")
    llm = tables["LLM steering (Table 3)"]
    assert set(llm[llm["measure"] == "improvement, by threes"]["agrees"]) <= {"yes", "within 2 s.d. of the shuffle"}


def test_a_sample_is_what_pandas_computes_from_the_file_itself(tables: dict[str, pd.DataFrame]) -> None:
    frame = pd.read_csv(Path(FOLDER) / "image_generation/data/steering.csv")
    found = frame.groupby("model")["dreamsim"].agg(["mean", "sem"])
    table = tables["Similarity by model (Table 2)"]
    ours = table[table["measure"] == "dreamsim"].set_index("row")
    for model in found.index:
        assert ours.loc[model, ["ours", "error"]].tolist() == pytest.approx(found.loc[model].tolist())
    wide = frame.pivot(index=["steering_user_id", "goal_image"], columns="attempt", values="dreamsim")
    change = tables["Improvement (Table 1)"].iloc[0]
    assert (change["ours"], change["error"]) == pytest.approx(((wide[5] - wide[1]).mean(), (wide[5] - wide[1]).sem()))


def test_the_deployed_policy_depends_on_whether_the_person_stayed(study: Study) -> None:
    """Equation 9 is written for the round alone."""
    rounds = pd.concat([frame for frame in rounds_by_file(study).values() if frame is not None])
    learned = rounds[rounds["scale"].isin([i / 10 for i in range(1, 11)])]
    found = learned.groupby(["round", "stayed_before"])["scale"].agg(["min", "max"])
    assert (found["min"] == found["max"]).all()
    assert found["min"].tolist() == [0.8, 0.8, 0.6, 0.5, 1.0, 0.3, 0.4]


def test_every_session_is_a_trace(study: Study) -> None:
    traces = study_traces(study)
    suites = pd.Series([f"{trace.suite} {trace.policy}" for trace in traces]).value_counts()
    assert suites["study-text person"] == 554
    assert suites["study-text-1-seed person"] == 58
    assert suites["study-text-3-seeds person"] == 60
    assert [suites[f"study-text blind {k}"] for k in (4, 7, 10, 20)] == [100] * 4
    assert suites["study-image published"] + suites["study-image-tiles published"] == 298
    assert study.skipped.empty


def test_the_documentation_holds_what_the_command_prints(study: Study) -> None:
    documented = compact((Path(__file__).parents[3] / "docs/study.md").read_text(encoding="utf-8")).splitlines()
    printed = [
        line for line in compact(study_report(study).markdown()).splitlines() if "| yes |" in line or "shuffle" in line
    ]
    assert [line for line in printed if line.startswith("|") and line not in documented] == []
