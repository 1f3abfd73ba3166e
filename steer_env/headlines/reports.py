"""What a report on headline steering has besides the tables of every evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from steer_env.evaluation.reports import Section, number
from steer_env.evaluation.statistics import estimate
from steer_env.headlines.rollout import RuleCount
from steer_env.headlines.rule import forbidden_words
from steer_env.study.headlines import Session
from steer_env.traces import SteeringTrace

_INSTRUCTIONS = "Here are my instructions: "


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


def people_section(sessions: Sequence[Session], traces: Sequence[SteeringTrace]) -> Section:
    """Real people's attempts under this metric, by the model that they steered.

    Args:
        sessions: of the released study.
        traces: theirs, in the same order, with similarities.
    """
    frame = pd.DataFrame({"model": [session.model for session in sessions]})
    frame["first"] = [trace.similarities[0] for trace in traces]
    frame["last"] = [trace.similarities[-1] for trace in traces]
    frame["broken"] = [
        sum(bool(forbidden_words(told, session.original, session.goal)) for told in session.instructions)
        for session in sessions
    ]
    parts = [(str(model), part) for model, part in frame.groupby("model") if len(part) > 1]
    rows = [_people_row(model, part) for model, part in [*parts, ("all", frame)]]
    columns = ["model", "sessions", "first attempt", "last attempt", "avg. change", "% improved", "break the rule"]
    text = f"The released sessions with all five attempts, under {traces[0].metric}; standard errors over sessions, "
    text += "and the share of people's instructions that break the rule as it stands here."
    return Section("Real people", text, [pd.DataFrame(rows, columns=columns)])


def _people_row(model: str, part: pd.DataFrame) -> tuple[str, ...]:
    change = (part["last"] - part["first"]).to_numpy()
    means = [number(estimate(np.array([values]))) for values in (part["first"], part["last"], change)]
    improved = estimate(np.array([change > 0], dtype=float))
    broken = part["broken"].sum() / (5 * len(part))
    return (model, str(len(part)), *means, f"{improved.mean:.1%} ({improved.error:.1%})", f"{broken:.1%}")


def episode_section(trace: SteeringTrace) -> Section:
    """One episode, attempt by attempt, as the paper's Table 4 shows it."""
    told = [prompt.partition(_INSTRUCTIONS)[2] for prompt in trace.prompts]
    table = pd.DataFrame({"attempt": range(1, 1 + len(told)), "instructions": told, "headline": trace.texts})
    table["similarity"] = [f"{similarity:.3f}" for similarity in trace.similarities]
    table = table.map(lambda cell: str(cell).replace("|", "¦"))
    title = f"Task {trace.task_index}, {trace.policy}"
    hidden = f" Its hidden prompt: “{trace.goal_prompt}”" if trace.goal_prompt else ""
    return Section(title, f"Goal: “{trace.goal_text}”{hidden}", [table])
