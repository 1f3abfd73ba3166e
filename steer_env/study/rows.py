"""One row of a table: our value, both errors, the paper's printed value, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import pandas as pd

from steer_env.evaluation.uncertainty import clustered_error, row_error
from steer_env.study.published import Printed

COLUMNS = ("row", "measure", "ours", "error", "clustered", "rows", "published", "difference", "agrees", "note")
"""``error`` by the paper's convention, over rows; ``clustered`` with dependent rows; ``published`` as printed;
``agrees``: "yes" if value and error round to what is printed, or the value where no error is, "value" if the value
alone does, "no", or empty where there is nothing to compare. Votes by threes that disagree may lie "within 2 s.d. of
the shuffle" that the authors left unseeded."""


def mean_row(
    label: str, measure: str, frame: pd.DataFrame, column: str, units: Sequence[str], printed: str = "", note: str = ""
) -> dict[str, Any]:
    """The mean of a column.

    Args:
        frame: one row an observation.
        units: the columns within whose values rows are dependent; one, or two that may cross.
        printed: what the paper prints, see :mod:`steer_env.study.published`.
        note: why the two differ, or what to know about them.
    """
    values = frame[column].to_numpy(dtype=float)
    mean = float(values.mean())
    clustered = clustered_error(values - mean, frame[list(units)])
    return value_row(label, measure, mean, row_error(values), clustered, len(values), printed, note)


def value_row(
    label: str, measure: str, ours: float, error: float, clustered: float, rows: int, printed: str = "", note: str = ""
) -> dict[str, Any]:
    """A row whose value isn't a plain mean."""
    difference, agrees = nan, ""
    if printed:
        paper = Printed.parse(printed)
        difference = ours - paper.value
        agrees = "no"
        if paper.agrees(ours):
            agrees = "yes" if paper.error is None or paper.error_agrees(error) else "value"
    return dict(
        zip(COLUMNS, (label, measure, ours, error, clustered, rows, printed, difference, agrees, note), strict=True)
    )


def missing_row(label: str, measure: str, printed: str, reason: str) -> dict[str, Any]:
    """A number of the paper's that the data at hand can't give, and why."""
    return dict(zip(COLUMNS, (label, measure, nan, nan, nan, 0, printed, nan, "", reason), strict=True))


def absent_row(label: str, measure: str, printed: str, file: str) -> dict[str, Any]:
    """A number that an optional file would give, which the folder lacks."""
    return missing_row(label, measure, printed, f"{file}.csv isn't in the folder")


def to_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows under :data:`COLUMNS`."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS))
