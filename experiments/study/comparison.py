"""Our numbers beside the paper's, as it prints them: value, and standard error in parentheses where there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from steer_env.evaluation.uncertainty import clustered_error, row_error

_NUMBER = re.compile(r"(?P<value>[\d,]+(?:\.(?P<digits>\d+))?)(?P<percent>%?)(?: \((?P<error>[\d.]+)%?\))?")


@dataclass(frozen=True)
class Printed:
    """A printed number, its error, and the digits that it was rounded to.

    >>> Printed.parse("54.7% (3.6%)").agrees(0.5471)
    True
    """

    value: float
    error: float | None
    digits: int
    percent: bool

    @staticmethod
    def parse(text: str) -> Printed:
        """
        Raises:
            ValueError: not written as the paper does.
        """
        found = _NUMBER.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} isn't a number as the paper prints it, such as '0.52 (0.01)' or '62%'")
        scale = 100 if found["percent"] else 1
        error = float(found["error"]) / scale if found["error"] else None
        value = float(found["value"].replace(",", "")) / scale
        return Printed(value, error, len(found["digits"] or ""), bool(found["percent"]))

    def agrees(self, ours: float) -> bool:
        """Does our value round to the printed one?"""
        return self._rounded(ours) == self._rounded(self.value)

    def error_agrees(self, ours: float) -> bool:
        """Does our error round to the printed one?"""
        return self.error is not None and self._rounded(ours) == self._rounded(self.error)

    def _rounded(self, value: float) -> str:
        return f"{value * (100 if self.percent else 1):.{self.digits}f}"


Rows = Mapping[str, str]
"""Row of a table → what the paper prints there."""


def _read() -> Mapping[str, Mapping[str, Rows]]:
    frame = pd.read_csv(Path(__file__).with_name("published.csv"), dtype=str)
    places = frame.groupby(["place", "measure"], sort=False)
    paper: dict[str, dict[str, Rows]] = {}
    for (place, measure), part in places:
        paper.setdefault(str(place), {})[str(measure)] = dict(zip(part["row"], part["printed"], strict=True))
    return paper


PAPER = _read()
"""Place in the paper → measure → rows; of Figure 3, POM-5 and the values by model are drawn and not printed."""

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
        printed: what the paper prints, see :class:`Printed`.
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
