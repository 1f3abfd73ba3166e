"""What the paper prints, as it prints it: value, and standard error in parentheses where there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

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
