"""What a report on headline steering has besides the tables of every evaluation.

Among it the study's real people under an automatic metric: how they did by it, and whether their raters agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from experiments.headlines.rollout import OVERLAP, RuleCount
from experiments.run.headlines.dynamics import TextMetric
from experiments.run.headlines.rule import forbidden_words, word_overlap
from experiments.run.released.headlines import ATTEMPTS, Session, headline_traces, instructions_in
from steer_env.evaluation.reports import Section
from steer_env.evaluation.uncertainty import UNKNOWN, Interval, estimate, percentiles
from steer_env.traces import SteeringTrace
from steer_env.types import cosine

_RESAMPLES = 1000


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
    """Real people's attempts under a metric, by the model that they steered, and the metric's agreement with raters."""
    similarities = np.array([trace.similarities for trace in traces])
    frame = pd.DataFrame({"first": similarities[:, 0], "last": similarities[:, -1]})
    frame["broken"] = [sum(bool(forbidden_words(i, s.original, s.goal)) for i in s.instructions) for s in sessions]
    models = frame.groupby([session.model for session in sessions])
    rows = [_people_row(model, part) for model, part in [*models, ("all", frame)] if len(part) > 1]
    text = (
        f"The released sessions with all five attempts, under {traces[0].metric}; standard errors over sessions, and "
        "the share of people's instructions that break the rule as it stands here. Below, Spearman's rank correlation "
        "with mean satisfaction over the attempts that were rated; 95 % bootstrap intervals over sessions."
    )
    overlaps = np.array([trace.judged[OVERLAP] for trace in traces])
    raters = []
    for metric, values in ((traces[0].metric, similarities), (OVERLAP, overlaps)):
        rho = agreement(values, ratings)
        shown = (UNKNOWN, UNKNOWN) if np.isnan(rho.value) else (f"{rho.value:.3f}", rho.brackets(".3f"))
        raters.append((metric, int(np.isfinite(ratings).sum()), *shown))
    columns = ["metric", "rated attempts", "Spearman's correlation", "95 % interval"]
    return Section("Real people", text, [pd.DataFrame(rows), pd.DataFrame(raters, columns=columns)])


def _people_row(model: str, part: pd.DataFrame) -> dict[str, Any]:
    change = part["last"] - part["first"]
    return {
        "model": model,
        "sessions": str(len(part)),
        "first attempt": estimate(part["first"].to_numpy()),
        "last attempt": estimate(part["last"].to_numpy()),
        "avg. change": estimate(change.to_numpy()),
        "% improved": f"{estimate((change > 0).to_numpy()):.1%}",
        "break the rule": f"{part['broken'].mean() / ATTEMPTS:.1%}",
    }


def agreement(similarities: np.ndarray, ratings: np.ndarray) -> Interval:
    """Spearman's correlation over rated attempts, and its 95 % interval by resampling sessions; nan where it has none.

    Similarities and ratings are float (N, 5); an attempt without a rating has nan.
    """

    def correlation(sessions: Any) -> float:
        rated = np.isfinite(ratings[sessions])
        a, b = similarities[sessions][rated], ratings[sessions][rated]
        constant = len(np.unique(a)) < 2 or len(np.unique(b)) < 2
        return nan if constant else float(stats.spearmanr(a, b).statistic)

    rng, n = np.random.default_rng(0), len(ratings)
    resampled = [correlation(rng.integers(n, size=n)) for _ in range(_RESAMPLES)]
    return percentiles(correlation(slice(None)), np.array(resampled))


def rule_section(counts: Sequence[RuleCount]) -> Section:
    """How often each user broke the rule, and what was done about it."""
    by_user: dict[str, list[RuleCount]] = {}
    for count in counts:
        by_user.setdefault(count.user, []).append(count)
    rows = [
        {
            "user": user,
            "prompts": sum(count.prompts for count in own),
            "asked again": sum(count.asked_again for count in own),
            "words left out": sum(len(count.dropped) for count in own),
            "episodes with words left out": f"{sum(bool(count.dropped) for count in own)} of {len(own)}",
            "repeated": sum(count.repeated for count in own),
        }
        for user, own in by_user.items()
    ]
    text = "Words of the goal that the original doesn't have are forbidden. Who sees the goal is asked again; words "
    text += "that remain are left out, as are those of users who don't see it, whom asking again would tell the goal. "
    text += "Repeated: the last instructions were played again, as nothing was left or written."
    return Section("Forbidden words (B.2)", text, [pd.DataFrame(rows)])


def episode_section(trace: SteeringTrace) -> Section:
    """One episode, attempt by attempt, as the paper's Table 4 shows it."""
    instructions = list(map(instructions_in, trace.prompts))
    similarities = [f"{similarity:.3f}" for similarity in trace.similarities]
    attempts = range(1, 1 + len(instructions))
    columns = {"attempt": attempts, "instructions": instructions, "headline": trace.texts, "similarity": similarities}
    table = pd.DataFrame(columns).map(lambda cell: str(cell).replace("|", "¦"))
    hidden = f" Its hidden prompt: “{trace.goal_prompt}”" if trace.goal_prompt else ""
    return Section(f"Task {trace.task_index}, {trace.policy}", f"Goal: “{trace.goal_text}”{hidden}", [table])
