"""What a report on headline steering has besides the tables of every evaluation.

Among it the study's real people under an automatic metric: how they did by it, and whether their raters agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from experiments.headlines.dynamics import TextMetric
from experiments.headlines.rollout import OVERLAP, RuleCount
from experiments.headlines.rule import forbidden_words, word_overlap
from experiments.run.released.headlines import ATTEMPTS, Session, headline_traces
from steer_env.evaluation.reports import Section
from steer_env.evaluation.uncertainty import UNKNOWN, Interval, estimate, percentiles
from steer_env.traces import SteeringTrace
from steer_env.types import cosine

_RESAMPLES = 1000
_INSTRUCTIONS = "Here are my instructions: "


def score(sessions: Sequence[Session], metric: TextMetric) -> list[SteeringTrace]:
    """The sessions as traces, with the similarity and the word overlap of each attempt to the goal."""
    traces = []
    for trace in headline_traces(sessions):
        goal, *texts = metric.embed([trace.goal_text, *trace.texts])
        similarities = [float(cosine(goal, text)) for text in texts]
        overlaps = [word_overlap(text, trace.goal_text) for text in trace.texts]
        traces.append(replace(trace, metric=metric.id, similarities=similarities, judged={OVERLAP: overlaps}))
    return traces


def people_section(sessions: Sequence[Session], traces: Sequence[SteeringTrace], ratings: np.ndarray) -> Section:
    """Real people's attempts under a metric, by the model that they steered, and the metric's agreement with raters.

    Args:
        sessions: N, of the released study.
        traces: theirs, from :func:`score`.
        ratings: float (N, 5), see :func:`experiments.run.released.headlines.session_ratings`.
    """
    metric, similarities = traces[0].metric, np.array([trace.similarities for trace in traces])
    frame = pd.DataFrame({"model": [session.model for session in sessions]})
    frame["first"], frame["last"] = similarities[:, 0], similarities[:, -1]
    frame["broken"] = [
        sum(bool(forbidden_words(told, session.original, session.goal)) for told in session.instructions)
        for session in sessions
    ]
    parts = [(str(model), part) for model, part in frame.groupby("model") if len(part) > 1]
    rows = [_row(model, part) for model, part in [*parts, ("all", frame)]]
    columns = ["model", "sessions", "first attempt", "last attempt", "avg. change", "% improved", "break the rule"]
    text = f"The released sessions with all five attempts, under {metric}; standard errors over sessions, "
    text += "and the share of people's instructions that break the rule as it stands here. Below, Spearman's rank "
    text += "correlation with mean satisfaction over the attempts that were rated; 95 % bootstrap intervals over "
    text += "sessions."
    overlaps = np.array([trace.judged[OVERLAP] for trace in traces])
    raters = [_agreement_row(name, found, ratings) for name, found in ((metric, similarities), (OVERLAP, overlaps))]
    agreed = pd.DataFrame(raters, columns=["metric", "rated attempts", "Spearman's correlation", "95 % interval"])
    return Section("Real people", text, [pd.DataFrame(rows, columns=columns), agreed])


def agreement(similarities: np.ndarray, ratings: np.ndarray) -> Interval:
    """Spearman's correlation over rated attempts, and its 95 % interval by resampling sessions; nan where it has none.

    Args:
        similarities: float (N, 5).
        ratings: float (N, 5); nan for an attempt without a rating.
    """
    rng, n = np.random.default_rng(0), len(ratings)
    drawn = [rng.integers(n, size=n) for _ in range(_RESAMPLES)]
    resampled = [_correlation(similarities[rows], ratings[rows]) for rows in drawn]
    return percentiles(_correlation(similarities, ratings), np.array(resampled))


def _correlation(similarities: np.ndarray, ratings: np.ndarray) -> float:
    rated = np.isfinite(ratings)
    a, b = similarities[rated], ratings[rated]
    if len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def _agreement_row(metric: str, similarities: np.ndarray, ratings: np.ndarray) -> tuple[str, int, str, str]:
    found = agreement(similarities, ratings)
    shown = (UNKNOWN, UNKNOWN) if np.isnan(found.value) else (f"{found.value:.3f}", found.brackets(".3f"))
    return (metric, int(np.isfinite(ratings).sum()), *shown)


def _row(model: str, part: pd.DataFrame) -> tuple[Any, ...]:
    change = (part["last"] - part["first"]).to_numpy()
    means = [estimate(values) for values in (part["first"].to_numpy(), part["last"].to_numpy(), change)]
    broken = part["broken"].sum() / (ATTEMPTS * len(part))
    return (model, str(len(part)), *means, f"{estimate(change > 0):.1%}", f"{broken:.1%}")


def rule_section(counts: Sequence[RuleCount]) -> Section:
    """How often each user broke the rule, and what was done about it."""
    rows = []
    for user in dict.fromkeys(count.user for count in counts):
        own = [count for count in counts if count.user == user]
        asked, dropped = sum(count.asked_again for count in own), sum(len(count.dropped) for count in own)
        episodes = sum(bool(count.dropped) for count in own)
        prompts, repeated = sum(count.prompts for count in own), sum(count.repeated for count in own)
        rows.append((user, prompts, asked, dropped, f"{episodes} of {len(own)}", repeated))
    columns = ["user", "prompts", "asked again", "words left out", "episodes with words left out", "repeated"]
    text = "Words of the goal that the original doesn't have are forbidden. Who sees the goal is asked again; words "
    text += "that remain are left out, as are those of users who don't see it, whom asking again would tell the goal. "
    text += "Repeated: the last instructions were played again, as nothing was left or written."
    return Section("Forbidden words (B.2)", text, [pd.DataFrame(rows, columns=columns)])


def episode_section(trace: SteeringTrace) -> Section:
    """One episode, attempt by attempt, as the paper's Table 4 shows it."""
    told = [prompt.partition(_INSTRUCTIONS)[2] for prompt in trace.prompts]
    table = pd.DataFrame({"attempt": range(1, 1 + len(told)), "instructions": told, "headline": trace.texts})
    table["similarity"] = [f"{similarity:.3f}" for similarity in trace.similarities]
    table = table.map(lambda cell: str(cell).replace("|", "¦"))
    title = f"Task {trace.task_index}, {trace.policy}"
    hidden = f" Its hidden prompt: “{trace.goal_prompt}”" if trace.goal_prompt else ""
    return Section(title, f"Goal: “{trace.goal_text}”{hidden}", [table])
