"""How large the study is: Section 3, Setup, and Appendix B.2."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

import pandas as pd

from steer_env.study.published import PAPER
from steer_env.study.rows import to_table, value_row

LLM_PEOPLE = "people in the LLM study, by survey"


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
