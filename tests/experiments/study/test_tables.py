from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.run.released.files import load_study
from experiments.run.released.sessions import image_rounds
from experiments.study import judging
from experiments.study import steering as tables
from experiments.study.comparison import COLUMNS
from experiments.study.report import study_report, study_tables
from tests.experiments.run.released.small_release import MODELS, blind, image_sessions, judgements, text_sessions
from tests.markdown import compact


def row(table: pd.DataFrame, label: str, measure: str) -> pd.Series:
    [found] = [r for _, r in table.iterrows() if (r["row"], r["measure"]) == (label, measure)]
    return found


def test_every_table_has_the_same_columns_and_a_reason_for_each_gap(release: Path) -> None:
    for title, _, table in study_tables(load_study(release)):
        assert tuple(table.columns) == COLUMNS, title
        gaps = table[table["ours"].isna()]
        assert (gaps["note"] != "").all(), title
        compared = table[(table["published"] != "") & table["ours"].notna()]
        assert (compared["agrees"] != "").all(), title


def test_similarity_by_model_has_both_errors() -> None:
    steering = text_sessions(MODELS).assign(clip_similarity=0.5)
    found = row(tables.similarity_by_model(steering), "flux-dev", "dreamsim")
    chosen = steering[steering["model"] == "flux-dev"]
    people = chosen.groupby("steering_user_id")["dreamsim"].mean()
    assert found["ours"] == pytest.approx(chosen["dreamsim"].mean())
    assert found["error"] == pytest.approx(stats.sem(chosen["dreamsim"]))
    goals = chosen.groupby("goal_image")["dreamsim"].mean()
    assert found["clustered"] == pytest.approx(max(stats.sem(people), stats.sem(goals)))
    assert found["difference"] == pytest.approx(found["ours"] - 0.70)


def test_seeds_are_compared_without_dall_e_and_with_the_optional_survey() -> None:
    steering, choosing = text_sessions(MODELS), text_sessions(["flux-dev"], 5)
    table = tables.seed_choice(steering, choosing)
    seeded = steering[~steering["model"].str.startswith("dall-e")]
    assert row(table, "average", "not choosing seed")["ours"] == pytest.approx(seeded["dreamsim"].mean())
    second = choosing[choosing["attempt"] == 2]["dreamsim"]
    assert row(table, "attempt 2", "choosing seed")["ours"] == pytest.approx(second.mean())
    absent = row(tables.seed_choice(steering, None), "attempt 2", "choosing seed")
    assert np.isnan(absent["ours"])
    assert absent["note"] == "choosing_seed.csv isn't in the folder"


def test_blind_shares_are_a_best_of_k_effect() -> None:
    steering = text_sessions(MODELS)
    rewrites = blind(steering, 4)
    table = tables.blind_shares(steering, {4: rewrites})
    gains, losses, human = [], [], []
    for goal, run in rewrites.groupby("goal_url"):
        own = steering[steering["goal_image"] == goal]["dreamsim"]
        gains.append(max(0.0, run["score"].max() - own.iloc[0]))
        losses.append(run["score"].mean() - own.iloc[0])
        human.append(own.max() - own.iloc[0])
    assert row(table, "4 rewrites", "share of people's")["ours"] == pytest.approx(sum(gains) / sum(human))
    single = row(table, "4 rewrites", "change of one")
    assert (single["ours"], single["error"]) == pytest.approx((np.mean(losses), stats.sem(losses)))


def test_the_error_of_a_share_is_the_delta_methods() -> None:
    """A share that is the same in every session has none."""
    steering = text_sessions(MODELS)
    rewrites = blind(steering, 4)
    best = steering.groupby("goal_image")["dreamsim"].max()
    rewrites["score"] = (rewrites["user_score"] + rewrites["goal_url"].map(best)) / 2
    found = row(tables.blind_shares(steering, {4: rewrites}), "4 rewrites", "share of people's")
    assert found["ours"] == pytest.approx(0.5)
    assert found["error"] == pytest.approx(0, abs=1e-12)


def test_judgements_by_threes_are_in_expectation_over_the_shuffle() -> None:
    frame = judgements(MODELS, "goal_image", "last_chosen")
    frame["last_chosen"] = ([1.0, 1.0, 0.0, 0.0] * 20)[: len(frame)]
    files = {"improvement": frame, "pom1": frame.rename(columns={"last_chosen": "ref_chosen"})}
    files["pom5"] = files["pom1"]
    found = row(judging.judgements(files), "average", "improvement, by threes")
    assert found["rows"] == 40, "four judgements a session are a three and a one"
    assert found["ours"] == pytest.approx(0.5)
    assert found["error"] == pytest.approx(stats.sem([0, 1] * 20))
    everything = row(judging.judgements(files), "average", "improvement, all judgements")
    assert everything["error"] == pytest.approx(stats.sem(frame["last_chosen"]))


def test_judgements_by_model_stand_beside_the_authors_summary(release: Path) -> None:
    files = dict(load_study(release).files)
    columns = [f"{m}_{n}" for m in ("last_over_first", "first_matches_ref", "last_matches_ref") for n in ("avg", "sem")]
    files["summary_metrics"] = pd.DataFrame({"model": MODELS, **dict.fromkeys(columns, 0.25)})
    assert (judging.judgements_by_model(files)["published"] == "0.250 (0.250)").all()


def test_scales_are_told_apart_by_whether_the_person_stayed() -> None:
    rounds = {"a": image_rounds(image_sessions(), "a"), "b": None}
    found = row(tables.scales(rounds), "a, round 2, stayed before", "mixture scale")
    assert (found["ours"], found["rows"], found["note"]) == (0.2, 1, "the same in every session")
    assert row(tables.stay_rates(rounds), "a, round 4", "stayed")["ours"] == 0.5
    assert row(tables.stay_rates(rounds), "b", "stayed")["note"] == "b.csv isn't in the folder"


def test_the_report_tells_what_was_left_out(release: Path) -> None:
    path = release / "image_generation/data/pom1.csv"
    frame = pd.read_csv(path)
    pd.concat([frame, frame.head(1)]).to_csv(path, index=False)
    markdown = compact(study_report(load_study(release)).markdown())
    assert "| pom1.csv | second row of the same attempt or judgement | 1 |" in markdown
