"""Image-steering sessions, which the release holds as Python literals in a column of a CSV file."""

from __future__ import annotations

import ast
from typing import Any

import pandas as pd

from steer_env.study.files import StudyError

LIMIT = 200_000
"""Longest literal read, in characters; the release's longest has 7,883."""


def image_rounds(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row a round of image steering.

    Args:
        frame: columns ``steering_user_id`` and ``all_attempts``: a list of sessions, each a dict with ``goal_prompt``,
            ``user_prompt`` and ``rounds``; a round has ``mixture_scale``, ``generated_images`` (the current one
            first) and ``selected_index``.
        name: of the file, for errors.

    Returns:
        person, session (counted over the file), goal_prompt, prompt, round (from 1), scale, choice (0: stayed),
        stayed_before (whether the user stayed in the round before; False in round 1).

    Raises:
        StudyError: a literal is too long, isn't one, or lacks what a session has.
    """
    rows: list[dict[str, Any]] = []
    session = 0
    for row, (person, text) in enumerate(zip(frame["steering_user_id"], frame["all_attempts"], strict=True)):
        where = f"{name}, row {row + 1}"
        for found in _sessions(text, where):
            rows += _rounds(found, where, {"person": person, "session": session})
            session += 1
    return pd.DataFrame(rows)


def _sessions(text: str, where: str) -> list[Any]:
    if len(text) > LIMIT:
        raise StudyError(f"{where}: all_attempts has {len(text):,} characters, at most {LIMIT:,} are read")
    try:
        sessions = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise StudyError(f"{where}: all_attempts isn't a Python literal ({error}): download the file again") from error
    if not isinstance(sessions, list) or not sessions:
        raise StudyError(f"{where}: all_attempts must be a list of sessions, got {text[:40]!r}")
    return sessions


def _rounds(session: Any, where: str, known: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        known = {**known, "goal_prompt": session["goal_prompt"], "prompt": session["user_prompt"]}
        played = [
            (float(r["mixture_scale"]), int(r["selected_index"]), len(r["generated_images"])) for r in session["rounds"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{where}: a session lacks {error}, or holds what it shouldn't: download it again") from error
    if not played:
        raise StudyError(f"{where}: a session has no rounds: download the file again")
    rows, stayed = [], False
    for i, (scale, choice, images) in enumerate(played):
        if not 0 <= scale <= 1 or not 0 <= choice < images:
            raise StudyError(
                f"{where}, round {i + 1}: mixture scale {scale} must be from 0 to 1, and selected_index {choice} "
                f"one of {images} images"
            )
        rows.append({**known, "round": i + 1, "scale": scale, "choice": choice, "stayed_before": stayed})
        stayed = choice == 0
    return rows
