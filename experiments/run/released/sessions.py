"""Real people's sessions as traces.

What the release doesn't hold: seeds, but for the surveys that restrict or offer them, and those are −1; similarities of
image sessions and of headlines, which are nan. A trace has no place for a goal image's address; the seeds that people
chose for each attempt aren't taken from the files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

import pandas as pd

from experiments.run.released.files import SESSION, Study, StudyError
from experiments.run.released.headlines import headline_traces, sessions_of
from steer_env.traces import PERSON, SteeringTrace
from steer_env.types import Task

MAIN_SUITE = "study-text"
TEXT_SUITES = {
    "steering": MAIN_SUITE,
    "steering_1_seed": "study-text-1-seed",
    "steering_2_seeds": "study-text-2-seeds",
    "steering_3_seeds": "study-text-3-seeds",
    "choosing_seed": "study-text-choosing-seed",
}
IMAGE_SUITES = {
    "img_steering": ("study-image-random", "random scale per session"),
    "img_steering_rl": ("study-image", "published"),
    "img_steering_rl_tiles": ("study-image-tiles", "published"),
}
"""By file: suite and policy, the policies as :mod:`steer_env.policies` names them. A suite each, since a task index
counts the sessions of its file."""
IMAGE_GENERATOR = "stable-diffusion-1.4"
"""Section 5; the files say "foundry", who lent the computers."""
LITERAL = 200_000
"""Longest literal of image sessions that is read, in characters; the release's longest has 7,883."""


def study_traces(study: Study) -> list[SteeringTrace]:
    """All sessions that were read: text, blind, image, headlines."""
    files, traces = study.files, []
    for name, suite in TEXT_SUITES.items():
        if name in files:
            traces += text_traces(files[name], suite)
    for k in (4, 7, 10, 20):
        traces += blind_traces(files[f"blind_steering_{k}"], files["steering"], k)
    for name, rounds in rounds_by_file(study).items():
        if rounds is not None:
            traces += image_traces(rounds, *IMAGE_SUITES[name])
    return traces + headline_traces(sessions_of(files["llm_steering"]))


def rounds_by_file(study: Study) -> dict[str, pd.DataFrame | None]:
    """Rounds of image steering, by file; None for a file that isn't there."""
    files = study.files
    return {name: image_rounds(files[name], f"{name}.csv") if name in files else None for name in IMAGE_SUITES}


def text_traces(frame: pd.DataFrame, suite: str) -> list[SteeringTrace]:
    """One trace a person and goal image, in the order of the file; the task index counts them."""
    sessions = dict(list(frame.sort_values("attempt", kind="stable").groupby(list(SESSION))))
    traces = []
    for key, index in _tasks(frame).items():
        session = sessions[key]
        attempts = session["attempt"].astype(int).tolist()
        if attempts != list(range(1, len(attempts) + 1)):
            raise StudyError(f"{suite}: person {key[0]} at goal {key[1]} has attempts {attempts}, not 1, 2, 3 …")
        first = session.iloc[0]
        known: dict[str, Any] = {"seeds": (_seed(first, "reference_seed"), _seed(first, "seed"))}
        if "clip_similarity" in session:
            known["judged"] = {"clip": session["clip_similarity"].tolist()}
        known["similarities"] = session["dreamsim"].tolist()
        traces.append(_text_trace(suite, index, first, session["prompt"].tolist(), policy="person", **known))
    return traces


def blind_traces(rewrites: pd.DataFrame, steering: pd.DataFrame, k: int) -> list[SteeringTrace]:
    """One trace a blind run: the person's first attempt, then the k rewrites of it, in the order of the file.

    They play the main survey's tasks, so that policies ``person`` and ``blind 4`` can be paired; ``human`` is the
    person whose first prompt was rewritten.
    """
    tasks, traces = _tasks(steering), []
    firsts: Any = steering[steering["attempt"] == 1].set_index(list(SESSION), drop=False)
    for key, run in rewrites.groupby(["steering_user_id", "goal_url"], sort=False):
        if key not in firsts.index:
            raise StudyError(f"blind_steering_{k}.csv: steering.csv has no session of person {key[0]} at goal {key[1]}")
        first = firsts.loc[key]
        prompts, similarities = [first["prompt"], *run["llm_prompt"]], [run["user_score"].iloc[0], *run["score"]]
        policy = f"blind {k}"
        traces.append(_text_trace(MAIN_SUITE, tasks[key], first, prompts, policy=policy, similarities=similarities))
    return traces


def image_traces(rounds: pd.DataFrame, suite: str, policy: str) -> list[SteeringTrace]:
    """One trace a session of image steering; its similarities are nan, one for each attempt."""
    return [
        SteeringTrace.of(
            Task(suite, index, session["goal_prompt"].iloc[0], -1, session["prompt"].iloc[0], -1),
            mechanism="mixture",
            policy=policy,
            human=f"{PERSON}{session['person'].iloc[0]}",
            generator=IMAGE_GENERATOR,
            metric="none",
            scales=session["scale"].tolist(),
            choices=session["choice"].tolist(),
            similarities=[nan] * (1 + len(session)),
        )
        for index, (_, session) in enumerate(rounds.groupby("session"))
    ]


def _text_trace(
    suite: str,
    index: int,
    first: pd.Series[Any],
    prompts: Sequence[str],
    seeds: tuple[int, int] = (-1, -1),
    **known: Any,
) -> SteeringTrace:
    """Of a session with this first attempt; ``seeds`` are those of the goal and of the first image."""
    return SteeringTrace.of(
        Task(suite, index, first["reference_prompt"], seeds[0], prompts[0], seeds[1]),
        mechanism="text",
        human=f"{PERSON}{first['steering_user_id']}",
        generator=first["model"],
        metric="dreamsim",
        prompts=prompts,
        **known,
    )


def _seed(row: pd.Series[Any], column: str) -> int:
    return int(row[column]) if pd.notna(row.get(column)) else -1


def _tasks(frame: pd.DataFrame) -> dict[tuple[Any, ...], int]:
    """Task index of each session by its person and goal image, in the order of the file."""
    sessions = frame[list(SESSION)].drop_duplicates().itertuples(index=False, name=None)
    return {session: index for index, session in enumerate(sessions)}


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
    sessions = [
        (person, session, f"{name}, row {row + 1}")
        for row, (person, text) in enumerate(zip(frame["steering_user_id"], frame["all_attempts"], strict=True))
        for session in _literal(text, f"{name}, row {row + 1}")
    ]
    return pd.DataFrame(
        {"person": person, "session": index, **played}
        for index, (person, session, where) in enumerate(sessions)
        for played in _rounds(session, where)
    )


def _literal(text: str, where: str) -> list[Any]:
    if len(text) > LITERAL:
        raise StudyError(f"{where}: all_attempts has {len(text):,} characters, at most {LITERAL:,} are read")
    try:
        sessions = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise StudyError(f"{where}: all_attempts isn't a Python literal ({error}): download the file again") from error
    if not isinstance(sessions, list) or not sessions:
        raise StudyError(f"{where}: all_attempts must be a list of sessions, got {text[:40]!r}")
    return sessions


def _rounds(session: Any, where: str) -> Iterator[dict[str, Any]]:
    try:
        prompts = {"goal_prompt": session["goal_prompt"], "prompt": session["user_prompt"]}
        played = [
            (float(r["mixture_scale"]), int(r["selected_index"]), len(r["generated_images"])) for r in session["rounds"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{where}: a session lacks {error}, or holds what it shouldn't: download it again") from error
    if not played:
        raise StudyError(f"{where}: a session has no rounds: download the file again")
    stayed = False
    for number, (scale, choice, images) in enumerate(played, start=1):
        if not 0 <= scale <= 1 or not 0 <= choice < images:
            raise StudyError(
                f"{where}, round {number}: mixture scale {scale} must be from 0 to 1, and selected_index {choice} "
                f"one of {images} images"
            )
        yield {**prompts, "round": number, "scale": scale, "choice": choice, "stayed_before": stayed}
        stayed = choice == 0
