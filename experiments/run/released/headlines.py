"""The released sessions of headline steering (paper, B.2), and their traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.run.released.files import load_source
from steer_env.traces import PERSON, SteeringTrace
from steer_env.types import Task

HEADLINE_SUITE = "study-headlines"
ATTEMPTS = 5
_BEFORE_INSTRUCTIONS = "Here are my instructions:"
_KEY = ["steering_user_id", "goal_headline", "model"]


@dataclass(frozen=True)
class Session:
    """One person's five attempts at one goal.

    Args:
        person, model: ids in the files.
        original, goal: headlines.
        goal_prompt: hidden prompt by which the model wrote the goal.
        prompts, texts: (5,), the prompts that the model got, and the headlines that it wrote.
    """

    person: str
    model: str
    original: str
    goal: str
    goal_prompt: str
    prompts: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def instructions(self) -> tuple[str, ...]:
        """(5,), the person's own part of the prompts."""
        return tuple(map(instructions_in, self.prompts))


def instructions_in(prompt: str) -> str:
    """A person's own part of a model's prompt."""
    return prompt.partition(_BEFORE_INSTRUCTIONS)[2].strip()


def headline_sessions(folder: Path) -> list[Session]:
    """All sessions with five attempts, in the order of the file; those that lack an attempt are left out.

    Of the release only ``LLMs/data/steering_llms.csv`` is read; errors are those of
    :func:`experiments.run.released.files.load_study`.
    """
    return sessions_of(load_source(folder, "llm_steering"))


def sessions_of(frame: pd.DataFrame) -> list[Session]:
    """The same, from the file's contents."""
    groups = [group for _, group in frame.sort_values("attempt", kind="stable").groupby(_KEY, sort=False)]
    whole = [group for group in groups if group["attempt"].tolist() == list(range(1, ATTEMPTS + 1))]
    return [_session(group) for group in sorted(whole, key=lambda group: int(group.index.min()))]


def _session(group: pd.DataFrame) -> Session:
    first = group.iloc[0]
    return Session(
        person=first["steering_user_id"],
        model=first["model"],
        original=_line(first["original_headline"]),
        goal=_line(first["goal_headline"]),
        goal_prompt=first["secret_prompt"].strip(),
        prompts=tuple(group["user_prompt"]),
        texts=tuple(map(_line, group["generated_headline"])),
    )


def session_ratings(sessions: Sequence[Session], frame: pd.DataFrame) -> np.ndarray:
    """Mean satisfaction of each attempt's raters, from ``llm_ratings``: float (N, 5), from 1 to 4; nan for none."""
    goals, numbers = frame["target_headline"].map(_line), frame["attempt"].astype(int)
    means = frame.groupby([frame["steering_user_id"], goals, frame["model"], numbers])["rating"].mean().to_dict()
    attempts = range(1, ATTEMPTS + 1)
    return np.array([[means.get((s.person, s.goal, s.model, i), nan) for i in attempts] for s in sessions])


def headline_traces(sessions: Sequence[Session]) -> list[SteeringTrace]:
    """One trace a session; the task index counts them. Similarities are nan, since the release has none."""
    return [
        SteeringTrace.of(
            Task(HEADLINE_SUITE, index, session.goal_prompt, -1, session.prompts[0], -1),
            mechanism="text",
            policy="person",
            human=f"{PERSON}{session.person}",
            generator=session.model,
            metric="none",
            similarities=[nan] * ATTEMPTS,
            prompts=list(session.prompts),
            texts=list(session.texts),
            goal_text=session.goal,
        )
        for index, session in enumerate(sessions)
    ]


def _line(text: str) -> str:
    return " ".join(text.split())
