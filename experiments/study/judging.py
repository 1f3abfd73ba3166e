"""What annotators judged: Figure 3 (left), the satisfaction shares of Section 3, and Table 3.

Errors are clustered by the person who steered and the annotator, who cross; by the person who steered alone where
judgements are counted in threes, which have no one annotator.

The authors' convention: the judgements of a trace are shuffled, cut into threes, and the majority of each counted once.
An incomplete last group of two that is tied counts against. The shuffle is unseeded, so their numbers differ from run
to run; here are its exact expectation and variance instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from experiments.study.comparison import PAPER, mean_row, tabled, value_row
from steer_env.evaluation.ratings import agreement, correlation, majority

UNITS = ("steering_user_id", "user_id")
_JUDGED = {
    "improvement": ("improvement", "last_chosen", "last_over_first"),
    "POM-1": ("pom1", "ref_chosen", "first_matches_ref"),
    "POM-5": ("pom5", "ref_chosen", "last_matches_ref"),
}
"""By measure: file, column, and what summary_metrics.csv calls it."""
Rows = Iterator[dict[str, Any]]
_PLAIN = "every judgement counts once, unlike the paper's"


@tabled
def judgements(files: Mapping[str, pd.DataFrame]) -> Rows:
    """Figure 3, left: improvement rate, POM-1 and POM-5, overall by the authors' convention and by plain counting."""
    for measure, (name, flag, _) in _JUDGED.items():
        printed = PAPER["Figure 3"].get(f"{measure}, by threes", {}).get("average", "")
        note = "" if printed else "stands in the figure only"
        yield _majority_row("average", f"{measure}, by threes", files[name], flag, "goal_image", printed, note)
        yield mean_row("average", f"{measure}, all judgements", files[name], flag, UNITS, printed, _PLAIN)


@tabled
def judgements_by_model(files: Mapping[str, pd.DataFrame]) -> Rows:
    """Figure 3, left, by model, beside the authors' summary_metrics.csv if the folder has it."""
    published = {}
    if "summary_metrics" in files:
        for model, summary in files["summary_metrics"].set_index("model").iterrows():
            for _, _, theirs in _JUDGED.values():
                published[model, theirs] = f"{summary[f'{theirs}_avg']:.3f} ({summary[f'{theirs}_sem']:.3f})"
    for measure, (name, flag, theirs) in _JUDGED.items():
        for model, part in files[name].groupby("model"):
            printed = published.get((model, theirs), "")
            yield _majority_row(str(model), f"{measure}, by threes", part, flag, "goal_image", printed)


def _majority_row(
    label: str, measure: str, frame: pd.DataFrame, flag: str, goal: str, printed: str, note: str = ""
) -> dict[str, Any]:
    """Mean over threes, in expectation over shuffles; the row error is that of so many yes-or-no votes."""
    majorities = majority(frame, [goal, "model"], flag, "steering_user_id")
    votes, spread = majorities.estimate, majorities.spread
    row = value_row(label, measure, votes.value, majorities.row_error, votes.error, votes.episodes, printed)
    row["note"] = "; ".join(filter(None, [note, f"an unseeded shuffle moves it by {spread:.3f} (s.d.)"]))
    if row["agrees"] == "no" and abs(row["difference"]) <= 2 * spread:
        row["agrees"] = "within 2 s.d. of the shuffle"
    return row


@tabled
def satisfaction(files: Mapping[str, pd.DataFrame]) -> Rows:
    """The shares of ratings on the four-point scale in Section 3, and that of Appendix B.2."""
    ratings = {name: files[name]["rating"] for name in ("sat_rating_4", "llm_ratings")}
    shares = {
        "unsatisfied or very unsatisfied": ("sat_rating_4", ratings["sat_rating_4"] <= 2),
        "very unsatisfied": ("sat_rating_4", ratings["sat_rating_4"] == 1),
        "very satisfied": ("sat_rating_4", ratings["sat_rating_4"] == 4),
        "very satisfied, headlines": ("llm_ratings", ratings["llm_ratings"] == 4),
    }
    printed = PAPER["Section 3 and B.2"]["share of ratings"]
    for label, (name, share) in shares.items():
        note = "Table 3 prints 0.18 for the same" if name == "llm_ratings" else ""
        frame = files[name].assign(share=share)
        yield mean_row(label, "share of ratings", frame, "share", UNITS, printed[label], note)


def agreements(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Krippendorff's α between raters, and Spearman's correlation of ratings with the automatic metrics.

    The paper has neither. Intervals are over people who steered.
    """
    rated = files["sat_rating_4"].assign(rating=lambda frame: frame["rating"].astype(float))
    session = ["target_headline", "model", "steering_user_id"]
    questions = {
        "satisfaction": (rated, ["goal_image", "model", "attempt"], "rating", "ordinal"),
        **{name: (files[file], ["goal_image", "model"], flag, "nominal") for name, (file, flag, _) in _JUDGED.items()},
        "satisfaction, headlines": (files["llm_ratings"], [*session, "attempt"], "rating", "ordinal"),
        "improvement, headlines": (files["llm_improvement"], session, "last_chosen", "nominal"),
    }
    rows = []
    for label, (frame, item, value, level) in questions.items():
        alpha = agreement(frame, item, value, level, "steering_user_id")
        rows.append((label, f"Krippendorff's α, {level}", f"{alpha:.3f}", len(frame)))
    keys = ["goal_image", "attempt"]
    images = rated.groupby(keys)["rating"].mean().to_frame().merge(files["steering"], on=keys)
    for metric in ("dreamsim", "clip_similarity"):
        coefficient = correlation(images["rating"].to_numpy(), images[metric].to_numpy(), images["steering_user_id"])
        rows.append(("satisfaction", f"Spearman's correlation with {metric}", f"{coefficient:.3f}", len(images)))
    return pd.DataFrame(rows, columns=["judgements", "measure", "value", "rows"])


@tabled
def headlines(files: Mapping[str, pd.DataFrame]) -> Rows:
    """Table 3: LLM steering; mean rating, share of 4, and improvement by the authors' convention."""
    ratings, judged = files["llm_ratings"], files["llm_improvement"]
    ratings = ratings.assign(top=(ratings["rating"] == 4).astype(float))
    deviation = f"the paper's parentheses hold a standard deviation: ours is {float(ratings['top'].std(ddof=0)):.2f}"
    for measure, column in (("satisfaction", "rating"), ("very satisfied", "top")):
        for model, printed in PAPER["Table 3"][measure].items():
            note = deviation if (model, column) == ("average", "top") else ""
            yield mean_row(model, measure, of_model(ratings, model), column, UNITS, printed, note)
    for model, printed in PAPER["Table 3"]["improvement"].items():
        part = of_model(judged, model)
        yield _majority_row(model, "improvement, by threes", part, "last_chosen", "target_headline", printed)
    yield mean_row("average", "improvement, all judgements", judged, "last_chosen", UNITS, printed, _PLAIN)


def of_model(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    """A model's rows; all rows for ``average``."""
    return frame if model == "average" else frame[frame["model"] == model]
