"""Those who steered: Tables 1, 2, 5, 6 and 7, Figures 3 (right) and 7, and image steering, from DataFrames of attempts.

Errors are clustered by person. A goal image belongs to one person, except in the surveys with three seeds, where
people share goals: there, and so everywhere, person and goal image are crossed units.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

import pandas as pd

from experiments.run.released.files import SESSION
from experiments.study.comparison import PAPER, absent_row, mean_row, missing_row, to_table, value_row
from steer_env.evaluation.uncertainty import clustered_error, row_error, share_of

REGULAR_MODEL = "sd3.5-large-turbo"
"""Steered by Table 7's regular users, and behind Figure 7."""
GUIDED_MODEL = "sd3.5-medium"
"""Table 6's."""
LLM_PEOPLE = "people in the LLM study, by survey"
_PERSON = ("person",)


def similarity_by_model(steering: pd.DataFrame) -> pd.DataFrame:
    """Table 2: mean DreamSim and CLIP similarity of all attempts, by model."""
    rows = []
    for measure, printed in PAPER["Table 2"].items():
        for model, value in printed.items():
            chosen = steering if model == "average" else steering[steering["model"] == model]
            rows.append(mean_row(model, measure, chosen, measure, SESSION, value))
    return to_table(rows)


def seed_choice(steering: pd.DataFrame, choosing: pd.DataFrame | None) -> pd.DataFrame:
    """Table 5: DreamSim by attempt, where people may choose the seed (None: not given) and where they may not.

    Those who may not are the main survey's, without DALL-E 2 and 3, which take no seed.
    """
    seeded = steering[~steering["model"].isin(["dall-e-2", "dall-e-3"])]
    reason = "choosing_seed.csv isn't in the folder"
    return to_table(
        _by_attempt("choosing seed", choosing, PAPER["Table 5"]["choosing seed"], reason)
        + _by_attempt("not choosing seed", seeded, PAPER["Table 5"]["not choosing seed"])
    )


def guidance_choice(steering: pd.DataFrame) -> pd.DataFrame:
    """Table 6: DreamSim by attempt without and with a choice of guidance; without is the main survey's."""
    chosen = steering[steering["model"] == GUIDED_MODEL]
    reason = "the release has no file of the survey with a choice of guidance"
    return to_table(
        _by_attempt("without guidance", chosen, PAPER["Table 6"]["without guidance"])
        + _by_attempt("choosing guidance", None, PAPER["Table 6"]["choosing guidance"], reason)
    )


def prompt_engineers(steering: pd.DataFrame) -> pd.DataFrame:
    """Table 7: DreamSim by attempt of regular users, who are the main survey's, and of prompt engineers."""
    chosen = steering[steering["model"] == REGULAR_MODEL]
    reason = "the release has no file of the prompt engineers' sessions"
    return to_table(
        _by_attempt("regular users", chosen, PAPER["Table 7"]["regular users"])
        + _by_attempt("prompt engineers", None, PAPER["Table 7"]["prompt engineers"], reason)
    )


def _by_attempt(
    measure: str, frame: pd.DataFrame | None, printed: Mapping[str, str], reason: str = ""
) -> list[dict[str, Any]]:
    if frame is None:
        return [missing_row(label, measure, value, reason) for label, value in printed.items()]
    parts = {f"attempt {attempt}": part for attempt, part in frame.groupby("attempt")} | {"average": frame}
    return [mean_row(label, measure, parts[label], "dreamsim", SESSION, value) for label, value in printed.items()]


def seed_restriction(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Figure 7's vertical axis: mean DreamSim of a model restricted to so many seeds.

    Args:
        files: ``steering``, and ``steering_1_seed``, ``steering_2_seeds``, ``steering_3_seeds`` where given.
    """
    names = {"1": "steering_1_seed", "2": "steering_2_seeds", "3": "steering_3_seeds"}
    note = "Figure 7 is drawn, no number printed"
    rows = [
        mean_row(f"seeds: {seeds}", "dreamsim", files[name], "dreamsim", SESSION, note=note)
        if name in files
        else absent_row(f"seeds: {seeds}", "dreamsim", "", name)
        for seeds, name in names.items()
    ]
    free = files["steering"][files["steering"]["model"] == REGULAR_MODEL]
    return to_table([*rows, mean_row("seeds: any", "dreamsim", free, "dreamsim", SESSION, note=note)])


def improvement(steering: pd.DataFrame) -> pd.DataFrame:
    """Table 1's two measures for the main survey's sessions: change from first to last attempt, share above zero."""
    sessions = _sessions(steering).reset_index()
    sessions["change"] = sessions["last"] - sessions["first"]
    sessions["improved"] = (sessions["change"] > 0).astype(float)
    label, note = "text, the ten models of Section 3", "not Table 1's model, Stable Diffusion 1.4"
    rows = [
        mean_row(label, "avg. change", sessions, "change", SESSION, note=note),
        mean_row(label, "% improve", sessions, "improved", SESSION, note=note),
    ]
    for measure, printed in PAPER["Table 1"].items():
        for name, value in printed.items():
            kind = "similarities of image sessions" if name.startswith("image") else "text sessions with its model"
            rows.append(missing_row(name, measure, value, f"the release has no {kind}"))
    return to_table(rows)


def blind_shares(steering: pd.DataFrame, blind: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Figure 3, right: the share of people's improvement that k blind rewrites of the first prompt reach (C.1).

    Σ max(0, best of k − first) / Σ (person's best − first), over the sessions that were steered blindly; and the
    mean change of one blind rewrite, which no choice of the best flatters.

    Args:
        blind: by k, one row a rewrite.
    """
    people = _sessions(steering)
    rows = []
    for k, rewrites in blind.items():
        by_session = rewrites.rename(columns={"goal_url": "goal_image"}).groupby(list(SESSION))
        runs = by_session.agg(best=("score", "max"), mean=("score", "mean"), first=("user_score", "first"))
        runs["person"] = (people["best"] - people["first"]).loc[runs.index]
        runs["blind"] = (runs["best"] - runs["first"]).clip(lower=0)
        runs["single"] = runs["mean"] - runs["first"]
        runs = runs.reset_index()
        rows.append(_share(f"{k} rewrites", runs))
        rows.append(mean_row(f"{k} rewrites", "change of one", runs, "single", SESSION))
    return to_table(rows)


def _share(label: str, runs: pd.DataFrame) -> dict[str, Any]:
    """A ratio of means, with the delta method's errors."""
    printed = PAPER["Figure 3"]["share of people's"].get(label, "")
    share, influence = share_of(runs["blind"].to_numpy(), runs["person"].to_numpy())
    clustered = clustered_error(influence, runs[list(SESSION)])
    note = "" if printed else "drawn in Figure 3, not printed"
    return value_row(label, "share of people's", share, row_error(influence), clustered, len(runs), printed, note)


def _sessions(steering: pd.DataFrame) -> pd.DataFrame:
    """First, last and best DreamSim of each session; index person and goal image."""
    ordered = steering.sort_values("attempt", kind="stable").groupby(list(SESSION))["dreamsim"]
    return ordered.agg(["first", "last", "max"]).rename(columns={"max": "best"})


def stay_rates(rounds: Mapping[str, pd.DataFrame | None]) -> pd.DataFrame:
    """Share of sessions in which the person kept the current image, by round; clustered by person.

    Args:
        rounds: by file name, from :func:`experiments.run.released.sessions.image_rounds`; None: not given.
    """
    rows = []
    for name, frame in rounds.items():
        if frame is None:
            rows.append(absent_row(name, "stayed", "", name))
            continue
        stayed = frame.assign(stayed=(frame["choice"] == 0).astype(float))
        for number, chosen in stayed.groupby("round"):
            rows.append(mean_row(f"{name}, round {number}", "stayed", chosen, "stayed", _PERSON))
    return to_table(rows)


def scales(rounds: Mapping[str, pd.DataFrame | None]) -> pd.DataFrame:
    """Mixture scale (Eq. 8) by round and by whether the person stayed in the round before.

    Equation 9 has one value for each round; the deployed policy has two where these differ. The note gives the range.
    """
    rows = []
    for name, frame in rounds.items():
        if frame is None:
            rows.append(absent_row(name, "mixture scale", "", name))
            continue
        for (number, stayed), chosen in frame.groupby(["round", "stayed_before"]):
            state = "" if number == 1 else ", stayed before" if stayed else ", moved before"
            low, high = chosen["scale"].min(), chosen["scale"].max()
            note = "the same in every session" if low == high else f"from {low:.2f} to {high:.2f}"
            label = f"{name}, round {number}{state}"
            rows.append(mean_row(label, "mixture scale", chosen, "scale", _PERSON, note=note))
    return to_table(rows)


def counts(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Goals, people and judgements, beside what the paper says."""
    steering, llm = files["steering"], files["llm_steering"]
    judges = [files["llm_ratings"], files["llm_improvement"]]
    people = [llm["steering_user_id"], *(frame["user_id"] for frame in judges)]
    places = sum(survey.nunique() for survey in people)
    found = {
        "goal images": steering["goal_image"].nunique(),
        "goal and generated image pairs": len(steering),
        "people who steered image models": steering["steering_user_id"].nunique(),
        "goal headlines": llm["goal_headline"].nunique(),
        LLM_PEOPLE: places,
        "judgements of headlines": sum(len(frame) for frame in judges),
    }
    notes = {LLM_PEOPLE: f"{places - pd.concat(people).nunique()} of them took part twice and are counted twice"}
    return to_table(
        [
            value_row(label, "number", found[label], nan, nan, found[label], printed, notes.get(label, ""))
            for label, printed in PAPER["Section 3 and B.2"]["number"].items()
        ]
    )
