"""The study's tables as a report: ours beside the paper's."""

from __future__ import annotations

import pandas as pd

from experiments.run.released.files import REPOSITORY, Study
from experiments.run.released.sessions import rounds_by_file
from experiments.study import judging, steering
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import UNKNOWN, Estimate

LEAD = (
    f"Real people's sessions, from {REPOSITORY}. “ours” is computed from the files. In parentheses stands the standard "
    "error by the paper's convention, over rows; “clustered” is the one with rows of a person, a goal image or an "
    "annotator dependent. “published” is what the paper prints; “agrees” is yes where our value and error round to it, "
    "and value where the value alone does."
)


def study_report(study: Study) -> Report:
    """Every table that the release allows, and for those that it doesn't, the reason in their rows."""
    sections = [Section(title, text, [printable(table)]) for title, text, table in study_tables(study)]
    agreed = "And how ratings go with the automatic metrics. 95 % intervals over people who steered in brackets."
    sections.append(Section("Agreement between raters", agreed, [judging.agreements(study.files)]))
    if len(study.skipped):
        sections.append(Section("Rows left out", "Counted, by file.", [study.skipped]))
    return Report("The released study", LEAD, sections)


def study_tables(study: Study) -> list[tuple[str, str, pd.DataFrame]]:
    """Title, how to read it, and table with :data:`experiments.study.comparison.COLUMNS`."""
    files, rounds = study.files, rounds_by_file(study)
    sessions = files["steering"]
    blind = {k: files[f"blind_steering_{k}"] for k in (4, 7, 10, 20)}
    seeds = "DreamSim. People who may not choose are the main survey's, without DALL-E 2 and 3, which take no seed."
    judged = (
        "By threes: the authors shuffle the judgements of each goal image, cut them into threes, and count each "
        "majority once, a tied pair against. Their shuffle is unseeded, so ours is the expectation over shuffles."
    )
    by_model = "“published” is the authors' summary_metrics.csv: these numbers stand in the paper's figure only."
    rewritten = (
        "Share of people's improvement that the best of k blind rewrites of their first prompt reaches; and the "
        "mean change of a single rewrite, which isn't the best of anything."
    )
    change = "Change of DreamSim from first to last attempt."
    stayed = "Share of sessions in which no proposal was picked."
    return [
        ("Size of the study", "People, goals and judgements.", steering.counts(files)),
        ("Similarity by model (Table 2)", "Mean over all attempts.", steering.similarity_by_model(sessions)),
        ("Choosing seeds (Table 5)", seeds, steering.seed_choice(sessions, files.get("choosing_seed"))),
        ("Choosing guidance (Table 6)", "DreamSim, SD 3.5 medium.", steering.guidance_choice(sessions)),
        ("Prompt engineers (Table 7)", "DreamSim, SD 3.5 large turbo.", steering.prompt_engineers(sessions)),
        ("Improvement, POM-1 and POM-5 (Figure 3, left)", judged, judging.judgements(files)),
        ("The same by model", by_model, judging.judgements_by_model(files)),
        ("Blind steering (Figure 3, right)", rewritten, steering.blind_shares(sessions, blind)),
        ("Satisfaction (Section 3, B.2)", "Four-point ratings.", judging.satisfaction(files)),
        ("Restricted seeds (Figure 7)", "DreamSim, SD 3.5 large turbo.", steering.seed_restriction(files)),
        ("LLM steering (Table 3)", "Headlines.", judging.headlines(files)),
        ("Improvement (Table 1)", change, steering.improvement(sessions)),
        ("How often people stay", stayed, steering.stay_rates(rounds)),
        ("Mixture scales (Eq. 8, 9)", "What people were shown, by round.", steering.scales(rounds)),
    ]


def printable(table: pd.DataFrame) -> pd.DataFrame:
    """Cells as they print; a dash for a number that isn't there."""
    shown = table.drop(columns="error").astype(object).replace({"published": {"": UNKNOWN}, "agrees": {"": UNKNOWN}})
    for name, digits in (("clustered", "{:.4f}"), ("difference", "{:+.4f}")):
        shown[name] = [UNKNOWN if pd.isna(value) else digits.format(value) for value in table[name]]
    shown["ours"] = [_value(*cell) for cell in zip(table["ours"], table["error"], table["rows"], strict=True)]
    return shown


def _value(value: float, error: float, rows: int) -> str:
    if pd.isna(error):
        return UNKNOWN if pd.isna(value) else f"{value:,.6g}"
    return str(Estimate(value, error, rows, rows - 1))
