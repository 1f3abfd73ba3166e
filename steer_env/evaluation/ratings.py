"""What people say of images: votes by threes, agreement between raters, and how ratings go with automatic metrics.

Ratings are frames with a row a rating. Their columns are named by the caller, but for :func:`ratings_sections`,
which takes those of :data:`COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from steer_env.evaluation.reports import Section
from steer_env.evaluation.uncertainty import (
    UNKNOWN,
    Estimate,
    Interval,
    clustered_estimate,
    pearson,
    percentiles,
    redrawn,
)
from steer_env.registry import Registry

GROUP = 3
"""Judgements that are counted as one vote (paper, D)."""
COLUMNS = ("question", "item", "attempt", "person", "rater", "value", "similarity")
"""Of ratings: what was asked (:data:`QUESTIONS`), the session that is rated, its attempt where one is meant, who
steered, who rates, the answer, and the automatic similarity of the rated image to the goal, nan where there is none;
or, where the question is about the improvement, by how much it rose. Columns ``similarity NAME`` are those of other
metrics."""
QUESTIONS = Registry(
    "question to raters",
    {
        "similarity": "interval",
        "satisfaction": "ordinal",
        "improvement": "nominal",
        "POM-1": "nominal",
        "POM-5": "nominal",
    },
)
"""By question the level of its scale. Similarity has 10 points, satisfaction 4; the others are yes (1) or no (0): the
last image is closer to the goal than the first; of the first or the last prompt, the goal fits it better than its own
image does."""


@dataclass(frozen=True)
class Majority:
    """A share of votes, each the majority of three judgements, in expectation over how they are shuffled.

    Args:
        estimate: the share, with an error clustered by the person who steered.
        row_error: as if votes were independent.
        spread: standard deviation that an unseeded shuffle causes.
    """

    estimate: Estimate
    row_error: float
    spread: float


def majority(frame: pd.DataFrame, item: Sequence[str], flag: str, person: str) -> Majority:
    """Share of votes in favour.

    The judgements of an item are shuffled, cut into threes, and the majority of each counts once. An incomplete last
    group of two that is tied counts against.

    Args:
        frame: one row a judgement.
        item: columns that name what is judged.
        flag: column of 1 or 0.
        person: column of the person who steered.
    """
    items = frame.groupby(list(item)).agg(n=(flag, "size"), favourable=(flag, "sum"), person=(person, "first"))
    pairs = list(zip(items["n"], items["favourable"].astype(int), strict=True))
    groups = pd.DataFrame({"person": items["person"], "vote": [expected_votes(*pair) for pair in pairs]})
    groups = groups.explode("vote")
    votes = groups["vote"].to_numpy(dtype=float)
    share, n = clustered_estimate(votes, groups["person"]), len(votes)
    spread = sum(shuffle_variance(*pair) for pair in pairs) ** 0.5 / n
    row_error = (share.value * (1 - share.value) / (n - 1)) ** 0.5 if n > 1 else nan
    return Majority(share, row_error, spread)


def group_sizes(judgements: int) -> list[int]:
    """
    >>> group_sizes(8)
    [3, 3, 2]
    """
    rest = judgements % GROUP
    return [GROUP] * (judgements // GROUP) + [rest] * (rest > 0)


@cache
def expected_votes(judgements: int, favourable: int) -> tuple[float, ...]:
    """Chance over shuffles that each group of one item has a majority in favour.

    >>> expected_votes(4, 2)
    (0.5, 0.5)
    """
    return tuple(float(_majority(judgements, favourable, size)) for size in group_sizes(judgements))


@cache
def shuffle_variance(judgements: int, favourable: int) -> float:
    """Variance over shuffles of the number of groups with a majority in favour."""
    total = sum(expected_votes(judgements, favourable))
    pairs = permutations(group_sizes(judgements), 2)
    return total + sum(_both(judgements, favourable, *pair) for pair in pairs) - total**2


def _majority(judgements: int, favourable: Any, size: int) -> Any:
    from scipy.stats import hypergeom

    return hypergeom.sf(size // 2, judgements, favourable, size)


def _both(judgements: int, favourable: int, first: int, second: int) -> float:
    """Chance that two groups of one item both have a majority in favour."""
    from scipy.stats import hypergeom

    least = max(first // 2 + 1, first + favourable - judgements)
    inside = np.arange(least, min(first, favourable) + 1)
    chances = hypergeom.pmf(inside, judgements, favourable, first)
    return float((chances * _majority(judgements - first, favourable - inside, second)).sum())


def agreement(
    frame: pd.DataFrame, item: Sequence[str], value: str, level: str, person: str, resamples: int = 1000
) -> Interval:
    """Krippendorff's α: 1 where raters agree, 0 where they agree no more than by chance.

    Args:
        frame: one row a rating; an item that only one person rated says nothing.
        item: columns that name what is rated.
        value: column of the ratings.
        level: nominal, ordinal or interval: how far apart two ratings are.
        person: column of the units of the percentile bootstrap, such as who steered.
        resamples: of it.

    Returns:
        α with a 95 % interval; nan where no item has two ratings, or all ratings are the same.
    """
    values, codes = np.unique(frame[value].to_numpy(), return_inverse=True)
    numbers, _ = pd.factorize(pd.MultiIndex.from_frame(frame[list(item)]))
    counts = np.zeros((numbers.max() + 1, len(values)))
    np.add.at(counts, (numbers, codes), 1)
    owners = frame.assign(number=numbers).groupby("number")[person].first().to_numpy()
    several = counts.sum(axis=1) > 1
    counts, owners = counts[several], owners[several]
    if not len(counts):
        return Interval(nan, nan, nan)
    # Of each item, how often each pair of values occurs among its pairs of ratings.
    pairs = counts[:, :, None] * counts[:, None] - counts[:, :, None] * np.eye(len(values))
    pairs /= (counts.sum(axis=1) - 1)[:, None, None]
    units, _ = pd.factorize(owners)
    by_person = np.zeros((units.max() + 1, *pairs.shape[1:]))
    np.add.at(by_person, units, pairs)
    weights = redrawn(np.random.default_rng(0), len(by_person), resamples) * len(by_person)
    drawn = np.tensordot(weights, by_person, axes=1)
    return percentiles(_alpha(pairs.sum(axis=0), values, level), np.array([_alpha(o, values, level) for o in drawn]))


def _alpha(pairs: np.ndarray, values: np.ndarray, level: str) -> float:
    """From how often pairs of values occur, float (V, V)."""
    totals = pairs.sum(axis=1)
    expected = (np.outer(totals, totals) - np.diag(totals)) / max(totals.sum() - 1, 1)
    apart = _distance(values, totals, level)
    by_chance = float((expected * apart).sum())
    return 1 - float((pairs * apart).sum()) / by_chance if by_chance > 0 else nan


def _distance(values: np.ndarray, totals: np.ndarray, level: str) -> np.ndarray:
    """Squared, between all pairs of values: float (V, V)."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    if level == "interval":
        return np.asarray((values[:, None] - values) ** 2, dtype=float)
    # Ordinal: how many ratings lie between two values, half of those at either end included.
    middle = np.cumsum(totals) - totals / 2
    return np.asarray((middle[:, None] - middle) ** 2)


def correlation(first: Any, second: Any, units: Any, resamples: int = 1000) -> Interval:
    """Spearman's, of two measures of the same items, with a 95 % percentile interval over units.

    Args:
        first, second: float (N,) each, arrays or columns.
        units: N, such as who steered.
        resamples: of the bootstrap; the ranks are those of the whole sample.
    """
    from scipy.stats import rankdata

    x, y = (rankdata(np.asarray(values, dtype=float)) - (len(values) + 1) / 2 for values in (first, second))
    return pearson(x, y, units, resamples)


def ratings_sections(frame: pd.DataFrame) -> list[Section]:
    """Satisfaction, improvement, POM-1 and POM-5, agreement between raters, and correlation with the automatic metric.

    Args:
        frame: columns :data:`COLUMNS`. Calibration pairs don't belong in it.

    Raises:
        ValueError: a column that is missing, or an unknown question.
    """
    if missing := set(COLUMNS) - set(frame.columns):
        raise ValueError(f"ratings lack the columns {', '.join(sorted(missing))}")
    rows = [_rated(question, part) for question, part in frame.groupby("question", sort=False)]
    text = (
        "Mean, or share of judgements, with errors clustered by the person who steered and the rater; shares of votes "
        "by threes (the majority of three judgements counts once) clustered by the person who steered. Agreement is "
        "Krippendorff's α: 1 where raters agree, 0 where they agree no more than by chance. Correlation is Spearman's, "
        "between an image's mean rating and its automatic similarity to the goal, or between the votes for the last "
        "image and by how much it is more similar than the first; by the study's metric, then by others. 95 % "
        "intervals by a bootstrap over people who steered in brackets."
    )
    sections = [Section("What raters say", text, [pd.DataFrame(rows)])]
    if len(satisfied := frame[frame["question"] == "satisfaction"]):
        parts = [*satisfied.groupby("attempt"), ("all", satisfied)]
        table = pd.DataFrame({"attempt": attempt, **_shares(part)} for attempt, part in parts)
        sections.append(Section("Satisfaction", "Share of ratings on the scale of four points.", [table]))
    return sections


def _rated(question: Any, part: pd.DataFrame) -> dict[str, Any]:
    level, items = QUESTIONS[question], ["item", "attempt"]
    part = part.assign(attempt=part["attempt"].fillna(-1))
    raters, people = part["rater"].nunique(), part["person"].nunique()
    votes = f"{majority(part, items, 'value', 'person').estimate:.3f}" if level == "nominal" else UNKNOWN
    related = {}
    for name in [name for name in part.columns if name.startswith("similarity")]:
        means = {"value": ("value", "mean"), "similarity": (name, "mean"), "person": ("person", "first")}
        rated = part.groupby(items).agg(**means).dropna()
        title = name.replace("similarity", "correlation")
        related[title] = UNKNOWN
        if len(rated) > 2 and rated["similarity"].nunique() > 1:
            related[title] = f"{correlation(rated['value'], rated['similarity'], rated['person']):.2f}"
    return {
        "question": question,
        "ratings": len(part),
        "raters": raters,
        "people rated": people,
        "mean": f"{two_way(part, 'value'):.3f}",
        "by threes": votes,
        "agreement": f"{agreement(part, items, 'value', level, 'person'):.2f}",
        **related,
    }


def two_way(frame: pd.DataFrame, column: str) -> Estimate:
    """Mean of a column, with an error clustered by the person who steered and the rater, who cross."""
    return clustered_estimate(frame[column].to_numpy(dtype=float), frame[["person", "rater"]])


def _shares(part: pd.DataFrame) -> dict[str, Any]:
    shares = {"very unsatisfied": part["value"] == 1, "unsatisfied or very": part["value"] <= 2}
    shares |= {"satisfied or very": part["value"] >= 3, "very satisfied": part["value"] == 4}
    return {name: f"{two_way(part.assign(share=share), 'share'):.1%}" for name, share in shares.items()}
