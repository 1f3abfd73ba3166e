"""What a report on headline steering has besides the tables of every evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from steer_env.evaluation.reports import Section
from steer_env.headlines.rollout import RuleCount
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


def episode_section(trace: SteeringTrace) -> Section:
    """One episode, attempt by attempt, as the paper's Table 4 shows it."""
    told = [prompt.partition(_INSTRUCTIONS)[2] for prompt in trace.prompts]
    table = pd.DataFrame({"attempt": range(1, 1 + len(told)), "instructions": told, "headline": trace.texts})
    table["similarity"] = [f"{similarity:.3f}" for similarity in trace.similarities]
    table = table.map(lambda cell: str(cell).replace("|", "¦"))
    title = f"Task {trace.task_index}, {trace.policy}"
    hidden = f" Its hidden prompt: “{trace.goal_prompt}”" if trace.goal_prompt else ""
    return Section(title, f"Goal: “{trace.goal_text}”{hidden}", [table])
