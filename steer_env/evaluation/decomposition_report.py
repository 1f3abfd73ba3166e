"""The decomposition between generators as a page."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from steer_env.evaluation import plots
from steer_env.evaluation.decomposition import Decomposition
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import Estimate

_FITS = (
    "Share of the variance of improvements that a ridge regression on ever more inputs explains, on tasks that it "
    "wasn't fitted to; standard errors over folds in parentheses."
)
_TERMS = (
    "Mechanism: how much more the generator's own goals would gain with its way of being steered than with the "
    "baseline's. Producible set: how much more its goals gain than the baseline's goals do, both steered as the "
    "baseline is. The terms rest on the predictor's first principal components and add up to the direct difference by "
    "construction; 95 % bootstrap intervals over tasks."
)


def decomposition_report(
    fits: Mapping[str, Estimate], terms: Mapping[str, Decomposition], baseline: str, setting: str
) -> Report:
    """Figure 4 (left) and the terms of Equation 5.

    Args:
        fits: by inputs, from :func:`steer_env.evaluation.predictors.compare_predictors`.
        terms: by generator, each against the baseline.
        baseline: id of that generator.
        setting: a sentence on what was played.
    """
    explained = pd.DataFrame([(name, f"{fit:.3f}") for name, fit in fits.items()])
    explained.columns = pd.Index(["inputs", "R²"])
    rows = [
        (name, *(f"{term:+.4f}" for term in (found.mechanism, found.producible, found.total, found.direct)))
        for name, found in terms.items()
    ]
    columns = ["generator", "mechanism", "producible set", "sum", "direct difference"]
    sections = [
        Section("What predicts steerability (Figure 4, left)", _FITS, [explained], [plots.explained_variance(fits)]),
        Section("Mechanism or producible set (Equation 5)", _TERMS, [pd.DataFrame(rows, columns=columns)]),
    ]
    return Report("Steering mechanism or producible set", f"{setting} The baseline is {baseline}.", sections)
