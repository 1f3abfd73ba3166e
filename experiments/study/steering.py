"""People who steered: Tables 1, 2, 5, 6 and 7, Figures 3 (right) and 7, and image steering, from tables of attempts.

Errors are clustered by person. A goal image belongs to one person, except in the surveys with three seeds, where
people share goals: there, and so everywhere, person and goal image are crossed units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from typing import Any

import pandas as pd

from experiments.run.released.files import SESSION
from experiments.study.comparison import PAPER, mean_row, missing_row, no_file, tabled, value_row
from experiments.study.judging import of_model
from steer_env.evaluation.uncertainty import clustered_error, row_error, share_of

REGULAR_MODEL = "sd3.5-large-turbo"
"""Steered by Table 7's regular users, and behind Figure 7."""
GUIDED_MODEL = "sd3.5-medium"
"""Table 6's."""
LLM_PEOPLE = "people in the LLM study, by survey"
_PERSON = ("person",)
Rows = Iterator[dict[str, Any]]


@tabled
def similarity_by_model(steering: pd.DataFrame) -> Rows:
    """Table 2: mean DreamSim and CLIP similarity of all attempts, by model."""
    for measure, printed in PAPER["Table 2"].items():
        for model, value in printed.items():
            yield mean_row(model, measure, of_model(steering, model), measure, SESSION, value)


def seed_choice(steering: pd.DataFrame, choosing: pd.DataFrame | None) -> pd.DataFrame:
    """Table 5: DreamSim by attempt, where people may choose the seed (None: no such file) and where they may not.

    People who may not are the main survey's, without DALL-E 2 and 3, which take no seed.
    """
    seeded = steering[~steering["model"].isin(["dall-e-2", "dall-e-3"])]
    surveys = {"choosing seed": choosing, "not choosing seed": seeded}
    return _by_attempt("Table 5", surveys, no_file("choosing_seed"))


def guidance_choice(steering: pd.DataFrame) -> pd.DataFrame:
    """Table 6: DreamSim by attempt without and with a choice of guidance; without is the main survey's."""
    surveys = {"without guidance": of_model(steering, GUIDED_MODEL), "choosing guidance": None}
    return _by_attempt("Table 6", surveys, "the release has no file of the survey with a choice of guidance")


def prompt_engineers(steering: pd.DataFrame) -> pd.DataFrame:
    """Table 7: DreamSim by attempt of regular users, who are the main survey's, and of prompt engineers."""
    surveys = {"regular users": of_model(steering, REGULAR_MODEL), "prompt engineers": None}
    return _by_attempt("Table 7", surveys, "the release has no file of the prompt engineers' sessions")


@tabled
def _by_attempt(place: str, surveys: Mapping[str, pd.DataFrame | None], reason: str) -> Rows:
    """A table of the paper, by survey and attempt; the reason for surveys that are None."""
    for survey, frame in surveys.items():
        for label, printed in PAPER[place][survey].items():
            if frame is None:
                yield missing_row(label, survey, printed, reason)
                continue
            part = frame if label == "average" else frame[frame["attempt"] == int(label.removeprefix("attempt "))]
            yield mean_row(label, survey, part, "dreamsim", SESSION, printed)


@tabled
def seed_restriction(files: Mapping[str, pd.DataFrame]) -> Rows:
    """Figure 7's vertical axis: mean DreamSim of a model restricted to so many seeds."""
    surveys = {"1": "steering_1_seed", "2": "steering_2_seeds", "3": "steering_3_seeds", "any": "steering"}
    for seeds, name in surveys.items():
        if name not in files:
            yield missing_row(f"seeds: {seeds}", "dreamsim", "", no_file(name))
            continue
        frame = of_model(files[name], REGULAR_MODEL) if name == "steering" else files[name]
        note = "Figure 7 is drawn, no number printed"
        yield mean_row(f"seeds: {seeds}", "dreamsim", frame, "dreamsim", SESSION, note=note)


@tabled
def improvement(steering: pd.DataFrame) -> Rows:
    """Table 1's two measures for the main survey's sessions: change from first to last attempt, share above zero."""
    sessions = _sessions(steering).reset_index()
    sessions["change"] = sessions["last"] - sessions["first"]
    sessions["improved"] = sessions["change"] > 0
    label, note = "text, the ten models of Section 3", "not Table 1's model, Stable Diffusion 1.4"
    yield mean_row(label, "avg. change", sessions, "change", SESSION, note=note)
    yield mean_row(label, "% improve", sessions, "improved", SESSION, note=note)
    for measure, printed in PAPER["Table 1"].items():
        for name, value in printed.items():
            kind = "similarities of image sessions" if name.startswith("image") else "text sessions with its model"
            yield missing_row(name, measure, value, f"the release has no {kind}")


@tabled
def blind_shares(steering: pd.DataFrame, blind: Mapping[int, pd.DataFrame]) -> Rows:
    """Figure 3, right: the share of people's improvement that k blind rewrites of the first prompt reach (C.1).

    Σ max(0, best of k − first) / Σ (person's best − first), over the sessions that were steered blindly; and the
    mean change of one blind rewrite, which no choice of the best flatters. ``blind`` has a row a rewrite, by k.
    """
    people = _sessions(steering)
    for k, rewrites in blind.items():
        by_session = rewrites.rename(columns={"goal_url": "goal_image"}).groupby(list(SESSION))
        runs = by_session.agg(best=("score", "max"), mean=("score", "mean"), first=("user_score", "first"))
        runs["person"] = people["best"] - people["first"]
        runs["blind"] = (runs["best"] - runs["first"]).clip(lower=0)
        runs["single"] = runs["mean"] - runs["first"]
        runs = runs.reset_index()
        yield _share(f"{k} rewrites", runs)
        yield mean_row(f"{k} rewrites", "change of one", runs, "single", SESSION)


def _share(label: str, runs: pd.DataFrame) -> dict[str, Any]:
    """A ratio of means, with the delta method's errors."""
    printed = PAPER["Figure 3"]["share of people's"].get(label, "")
    share, influence = share_of(runs["blind"].to_numpy(), runs["person"].to_numpy())
    clustered = clustered_error(influence, runs[list(SESSION)])
    note = "" if printed else "drawn in Figure 3, not printed"
    return value_row(label, "share of people's", share, row_error(influence), clustered, len(runs), printed, note)


def _sessions(steering: pd.DataFrame) -> pd.DataFrame:
    """First, last and best DreamSim of each session; index person and goal image."""
    attempts = steering.sort_values("attempt", kind="stable").groupby(list(SESSION))
    return attempts.agg(first=("dreamsim", "first"), last=("dreamsim", "last"), best=("dreamsim", "max"))


@tabled
def stay_rates(rounds: Mapping[str, pd.DataFrame | None]) -> Rows:
    """Share of sessions in which the person kept the current image, by round; clustered by person."""
    for name, frame in rounds.items():
        if frame is None:
            yield missing_row(name, "stayed", "", no_file(name))
            continue
        for number, part in frame.assign(stayed=frame["choice"] == 0).groupby("round"):
            yield mean_row(f"{name}, round {number}", "stayed", part, "stayed", _PERSON)


@tabled
def scales(rounds: Mapping[str, pd.DataFrame | None]) -> Rows:
    """Mixture scale (Eq. 8) by round and by whether the person stayed in the round before.

    Equation 9 has one value for each round; the deployed policy has two where these differ. The note gives the range.
    """
    for name, frame in rounds.items():
        if frame is None:
            yield missing_row(name, "mixture scale", "", no_file(name))
            continue
        for (number, stayed), part in frame.groupby(["round", "stayed_before"]):
            state = "" if number == 1 else ", stayed before" if stayed else ", moved before"
            low, high = part["scale"].min(), part["scale"].max()
            note = "the same in every session" if low == high else f"from {low:.2f} to {high:.2f}"
            yield mean_row(f"{name}, round {number}{state}", "mixture scale", part, "scale", _PERSON, note=note)


@tabled
def counts(files: Mapping[str, pd.DataFrame]) -> Rows:
    """Goals, people and judgements, beside what the paper says."""
    steering, llm = files["steering"], files["llm_steering"]
    judges = [files["llm_ratings"], files["llm_improvement"]]
    people = [llm["steering_user_id"], *(frame["user_id"] for frame in judges)]
    places = sum(survey.nunique() for survey in people)
    numbers = {
        "goal images": steering["goal_image"].nunique(),
        "goal and generated image pairs": len(steering),
        "people who steered image models": steering["steering_user_id"].nunique(),
        "goal headlines": llm["goal_headline"].nunique(),
        LLM_PEOPLE: places,
        "judgements of headlines": sum(len(frame) for frame in judges),
    }
    notes = {LLM_PEOPLE: f"{places - pd.concat(people).nunique()} of them took part twice and are counted twice"}
    for label, printed in PAPER["Section 3 and B.2"]["number"].items():
        yield value_row(label, "number", numbers[label], nan, nan, numbers[label], printed, notes.get(label, ""))
