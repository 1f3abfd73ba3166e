"""Our numbers beside the paper's, as it prints them: value, and standard error in parentheses where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from math import nan
from pathlib import Path
from typing import Any, ParamSpec

import pandas as pd

from steer_env.evaluation.uncertainty import clustered_error, row_error

P = ParamSpec("P")
_NUMBER = re.compile(r"(?P<value>[\d,]+(?:\.(?P<digits>\d+))?)(?P<percent>%?)(?: \((?P<error>[\d.]+)%?\))?")


@dataclass(frozen=True)
class Printed:
    """A printed number, its error, and the digits that it was rounded to.

    >>> Printed.parse("54.7% (3.6%)").agreement(0.5471, 0.036)
    'yes'
    """

    value: float
    error: float | None
    digits: int
    percent: bool

    @staticmethod
    def parse(text: str) -> Printed:
        """What the paper prints; a ValueError for what isn't written as it does."""
        parts = _NUMBER.fullmatch(text)
        if parts is None:
            raise ValueError(f"{text!r} isn't a number as the paper prints it, such as '0.52 (0.01)' or '62%'")
        scale = 100 if parts["percent"] else 1
        error = float(parts["error"]) / scale if parts["error"] else None
        value = float(parts["value"].replace(",", "")) / scale
        return Printed(value, error, len(parts["digits"] or ""), bool(parts["percent"]))

    def agreement(self, value: float, error: float) -> str:
        """Of our numbers with these: yes, value or no, see :data:`COLUMNS`."""
        if not self._same(value, self.value):
            return "no"
        return "yes" if self.error is None or self._same(error, self.error) else "value"

    def _same(self, ours: float, theirs: float) -> bool:
        scale = 100 if self.percent else 1
        return f"{ours * scale:.{self.digits}f}" == f"{theirs * scale:.{self.digits}f}"


def _read(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    paper: dict[str, dict[str, dict[str, str]]] = {}
    for place, measure, row, printed in pd.read_csv(path, dtype=str).itertuples(index=False):
        paper.setdefault(place, {}).setdefault(measure, {})[row] = printed
    return paper


PAPER: Mapping[str, Mapping[str, Mapping[str, str]]] = _read(Path(__file__).with_name("published.csv"))
"""Place in the paper → measure → row of a table → what is printed there; of Figure 3, POM-5 and the values by model are
drawn and not printed."""

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
    if printed and rows:
        paper = Printed.parse(printed)
        difference, agrees = ours - paper.value, paper.agreement(ours, error)
    cells = (label, measure, ours, error, clustered, rows, printed, difference, agrees, note)
    return dict(zip(COLUMNS, cells, strict=True))


def missing_row(label: str, measure: str, printed: str, reason: str) -> dict[str, Any]:
    """A number of the paper's that the data at hand can't give, and why."""
    return value_row(label, measure, nan, nan, nan, 0, printed, reason)


def no_file(name: str) -> str:
    """The reason for a number that an optional file would give, which the folder lacks."""
    return f"{name}.csv isn't in the folder"


def tabled(rows: Callable[P, Iterator[dict[str, Any]]]) -> Callable[P, pd.DataFrame]:
    """Makes what yields rows return a table with :data:`COLUMNS`."""

    @wraps(rows)
    def table(*parts: P.args, **named: P.kwargs) -> pd.DataFrame:
        return pd.DataFrame(rows(*parts, **named), columns=list(COLUMNS))

    return table
