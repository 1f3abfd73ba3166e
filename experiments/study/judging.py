"""What annotators judged: Figure 3 (left), the satisfaction shares of Section 3, and Table 3.

Errors are clustered by the person who steered and the annotator, who cross; by the person who steered alone where
judgements are counted in threes, which have no one annotator.

The authors' convention: the judgements of a trace are shuffled, cut into threes, and the majority of each counted once.
An incomplete last group of two that is tied counts against. The shuffle is unseeded, so their numbers differ from run
to run; here are its exact expectation and variance instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd
from scipy.stats import hypergeom

from experiments.study.comparison import PAPER, mean_row, to_table, value_row
from steer_env.evaluation.uncertainty import clustered_error

UNITS = ("steering_user_id", "user_id")
_JUDGED = {
    "improvement": ("improvement", "last_chosen", "last_over_first"),
    "POM-1": ("pom1", "ref_chosen", "first_matches_ref"),
    "POM-5": ("pom5", "ref_chosen", "last_matches_ref"),
}
"""By measure: file, column, and what summary_metrics.csv calls it."""
_PLAIN = "every judgement counts once, unlike the paper's"


def judgements(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Figure 3, left: improvement rate, POM-1 and POM-5, overall by the authors' convention and by plain counting.

    Args:
        files: ``improvement``, ``pom1``, ``pom5``.
    """
    rows = []
    for measure, (name, flag, _) in _JUDGED.items():
        printed = PAPER["Figure 3"].get(f"{measure}, by threes", {}).get("average", "")
        note = "" if printed else "stands in the figure only"
        rows.append(_majority_row("average", f"{measure}, by threes", files[name], flag, "goal_image", printed, note))
        rows.append(mean_row("average", f"{measure}, all judgements", files[name], flag, UNITS, printed, _PLAIN))
    return to_table(rows)


def judgements_by_model(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Figure 3, left, by model, beside the authors' summary_metrics.csv where it is given, as the paper's text has no
    such number."""
    summary = files["summary_metrics"].set_index("model") if "summary_metrics" in files else None
    rows = []
    for measure, (name, flag, theirs) in _JUDGED.items():
        for model, chosen in files[name].groupby("model"):
            printed = ""
            if summary is not None and model in summary.index:
                found = summary.loc[model]
                printed = f"{found[f'{theirs}_avg']:.3f} ({found[f'{theirs}_sem']:.3f})"
            rows.append(_majority_row(str(model), f"{measure}, by threes", chosen, flag, "goal_image", printed))
    return to_table(rows)


def _majority_row(
    label: str, measure: str, frame: pd.DataFrame, flag: str, goal: str, printed: str, note: str = ""
) -> dict[str, Any]:
    """Mean over threes, in expectation over shuffles; the row error is that of so many yes-or-no votes."""
    traces = frame.groupby([goal, "model"]).agg(
        n=(flag, "size"), favourable=(flag, "sum"), person=("steering_user_id", "first")
    )
    pairs = [(int(n), int(favourable)) for n, favourable in zip(traces["n"], traces["favourable"], strict=True)]
    votes = [(person, v) for person, pair in zip(traces["person"], pairs, strict=True) for v in expected_votes(*pair)]
    groups = pd.DataFrame(votes, columns=["person", "vote"])
    mean, n = float(groups["vote"].mean()), len(groups)
    error = (mean * (1 - mean) / (n - 1)) ** 0.5
    clustered = clustered_error((groups["vote"] - mean).to_numpy(), groups[["person"]])
    spread = sum(shuffle_variance(*pair) for pair in pairs) ** 0.5 / n
    row = value_row(label, measure, mean, error, clustered, n, printed, note)
    row["note"] = "; ".join(filter(None, [note, f"an unseeded shuffle moves it by {spread:.3f} (s.d.)"]))
    if row["agrees"] == "no" and abs(row["difference"]) <= 2 * spread:
        row["agrees"] = "within 2 s.d. of the shuffle"
    return row


def satisfaction(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The shares of ratings on the four-point scale in Section 3, and that of Appendix B.2.

    Args:
        files: ``sat_rating_4``, ``llm_ratings``.
    """
    images, headlines = files["sat_rating_4"]["rating"], files["llm_ratings"]["rating"]
    shares = {
        "unsatisfied or very unsatisfied": ("sat_rating_4", images <= 2),
        "very unsatisfied": ("sat_rating_4", images == 1),
        "very satisfied": ("sat_rating_4", images == 4),
        "very satisfied, headlines": ("llm_ratings", headlines == 4),
    }
    rows, printed = [], PAPER["Section 3 and B.2"]["share of ratings"]
    for label, (name, share) in shares.items():
        note = "Table 3 prints 0.18 for the same" if name == "llm_ratings" else ""
        frame = files[name].assign(share=share.astype(float))
        rows.append(mean_row(label, "share of ratings", frame, "share", UNITS, printed[label], note))
    return to_table(rows)


def headlines(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Table 3: LLM steering; mean rating, share of 4, and improvement by the authors' convention.

    Args:
        files: ``llm_ratings``, ``llm_improvement``.
    """
    ratings = files["llm_ratings"].assign(top=(files["llm_ratings"]["rating"] == 4).astype(float))
    judged = files["llm_improvement"]
    rows = []
    for measure, column in (("satisfaction", "rating"), ("very satisfied", "top")):
        for model, printed in PAPER["Table 3"][measure].items():
            chosen = _of(ratings, model)
            rows.append(mean_row(model, measure, chosen, column, UNITS, printed))
    overall = rows[-1]
    deviation = float(ratings["top"].std(ddof=0))
    overall["note"] = f"the paper's parentheses hold a standard deviation: ours is {deviation:.2f}"
    for model, printed in PAPER["Table 3"]["improvement"].items():
        chosen = _of(judged, model)
        rows.append(_majority_row(model, "improvement, by threes", chosen, "last_chosen", "target_headline", printed))
    rows.append(mean_row("average", "improvement, all judgements", judged, "last_chosen", UNITS, printed, _PLAIN))
    return to_table(rows)


def _of(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return frame if model == "average" else frame[frame["model"] == model]


GROUP = 3


def group_sizes(judgements: int) -> list[int]:
    """
    >>> group_sizes(8)
    [3, 3, 2]
    """
    rest = judgements % GROUP
    return [GROUP] * (judgements // GROUP) + [rest] * (rest > 0)


@cache
def expected_votes(judgements: int, favourable: int) -> tuple[float, ...]:
    """Chance over shuffles that each group of one trace has a majority in favour.

    >>> expected_votes(4, 2)
    (0.5, 0.5)
    """
    return tuple(_majority(judgements, favourable, size) for size in group_sizes(judgements))


@cache
def shuffle_variance(judgements: int, favourable: int) -> float:
    """Variance over shuffles of the number of groups with a majority in favour."""
    sizes, chances = group_sizes(judgements), expected_votes(judgements, favourable)
    pairs = [(a, b) for i, a in enumerate(sizes) for j, b in enumerate(sizes) if i != j]
    both = sum(_both(judgements, favourable, a, b) for a, b in pairs)
    return sum(chances) + both - sum(chances) ** 2


def _majority(judgements: int, favourable: int, size: int) -> float:
    return float(hypergeom.sf(size // 2, judgements, favourable, size))


def _both(judgements: int, favourable: int, first: int, second: int) -> float:
    """Chance that two groups of one trace both have a majority in favour."""
    least = max(first // 2 + 1, first + favourable - judgements)
    return sum(
        float(hypergeom.pmf(inside, judgements, favourable, first))
        * _majority(judgements - first, favourable - inside, second)
        for inside in range(least, min(first, favourable) + 1)
    )
