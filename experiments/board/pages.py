"""The board as pages that need no other file: a table for each track, and a page for each entry."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.board.entries import TRACKS, Track
from steer_env.evaluation.uncertainty import Estimate, Interval
from steer_env.files import read_json, seal, write_atomically

JUDGE = "pixel-correlation"
PLAIN = "greedy"


@dataclass(frozen=True)
class Row:
    """An entry's line.

    Args:
        report: as :mod:`experiments.board.verifying` wrote it.
        best, worst: ends of its rank in the track: entries that are better for sure, and not worse for sure.
        scale: least and greatest end of the track's intervals, which bars are drawn in.
    """

    report: Mapping[str, Any]
    best: int
    worst: int
    scale: tuple[float, float]

    @property
    def identity(self) -> str:
        """First digits of the hash, which names its page."""
        return str(self.report["identity"])[:16]

    @property
    def rank(self) -> str:
        """Its place, or the places that it shares."""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"

    def interval(self, user: str = PLAIN, measure: str = "over_anchor", of: str = "users") -> Interval | None:
        """A mean with its 95 % interval; None where it wasn't measured."""
        return interval(self.report, user, measure, of)

    def places(self) -> dict[str, float]:
        """Of the bar, in per cent of the column's width: low, width, value, and where random buckets are."""
        low, high = self.scale
        found = self.interval()
        assert found is not None
        ends = {"low": found.low, "high": found.high, "value": found.value, "zero": 0.0}
        return {name: round(100 * (end - low) / (high - low), 2) for name, end in ends.items()}


def interval(report: Mapping[str, Any], user: str, measure: str, of: str = "users") -> Interval | None:
    """See :meth:`Row.interval`."""
    found = (report[of] or {}).get(user)
    if not found:
        return None
    value, error = found[measure]
    return Estimate(value, error, report["tasks"], report["tasks"] - 1).interval()


def read_reports(folder: Path) -> list[dict[str, Any]]:
    """All reports, checked.

    Raises:
        ValueError: one whose content isn't what the verifier sealed, or whose name isn't its hash.
    """
    reports = []
    for path in sorted(folder.glob("*.json")):
        report = read_json(path)
        if not isinstance(report, dict) or report.get("seal") != seal(report):
            raise ValueError(f"{path} isn't what the verifier wrote: its seal doesn't fit")
        if path.stem != report["identity"]:
            raise ValueError(f"{path} is the report of {report['identity']}")
        reports.append(report | {"strips": _strips(folder / "strips", report["identity"][:16])})
    return reports


def _strips(folder: Path, identity: str) -> list[str]:
    """Pictures of episodes, the best first, as data URIs."""
    pictures = sorted(folder.glob(f"{identity}-*.png"))
    return [f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" for path in pictures]


def rows(reports: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A track's entries, best first, with ranks as intervals.

    An entry is better for sure if the difference of their gains over random buckets is beyond its 95 % interval. Where
    two were played on the same tasks, the common noise makes that interval wider than it need be.
    """
    ordered = sorted(reports, key=lambda report: -report["users"][PLAIN]["over_anchor"][0])
    means, errors = np.array([report["users"][PLAIN]["over_anchor"] for report in ordered]).T
    apart = (means[:, None] - means) / np.hypot(errors[:, None], errors).clip(min=1e-12)
    better = apart > 1.96
    ends = [interval(report, PLAIN, "over_anchor") for report in ordered]
    known = [end for end in ends if end is not None]
    low, high = min(0.0, *(end.low for end in known)), max(0.0, *(end.high for end in known))
    margin = 0.04 * (high - low) or 0.01
    scale = (low - margin, high + margin)
    return [
        Row(report, 1 + int(better[:, place].sum()), len(ordered) - int(better[place].sum()), scale)
        for place, report in enumerate(ordered)
    ]


def build(reports: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write ``index.html`` and ``entries/HASH.html``.

    Raises:
        ValueError: no report.
    """
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    if not reports:
        raise ValueError("there are no reports yet: run python -m experiments.board verify references=true")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(), trim_blocks=True
    )
    environment.filters["gain"] = lambda found: f"{found.value:+.3f}" if found else "–"
    environment.filters["ends"] = lambda found: f"{found.low:+.3f} to {found.high:+.3f}" if found else ""
    tracks: dict[str, tuple[Track, list[Row]]] = {}
    for name, track in TRACKS.items():
        if own := [report for report in reports if report["track"] == name]:
            tracks[name] = (track, rows(own))
    figure = cost_figure(reports)
    shared = {"judge": JUDGE, "users": ("hesitant", "noisy")}
    page = environment.get_template("index.html").render(
        tracks=tracks,
        figure=figure,
        private=any(report["private"] for report in reports),
        verdict=verdict(tracks),
        **shared,
    )
    write_atomically(folder / "index.html", page)
    for track, ranked in tracks.values():
        for row in ranked:
            page = environment.get_template("entry.html").render(row=row, report=row.report, track=track, **shared)
            write_atomically(folder / "entries" / f"{row.identity}.html", page)


def verdict(tracks: Mapping[str, tuple[Track, Sequence[Row]]]) -> str:
    """Does the best learned entry stand apart from the best schedule? In a sentence."""
    if "mixture" not in tracks:
        return ""
    ranked = tracks["mixture"][1]
    learned = [row for row in ranked if row.report["card"] and row.report["card"]["episodes"]]
    fixed = [row for row in ranked if row.report["reference"]]
    if not learned or not fixed:
        return "No learned policy has been verified for the mixture yet."
    (one, error), (other, its_error) = (row.report["users"][PLAIN]["over_anchor"] for row in (learned[0], fixed[0]))
    half = 1.96 * float(np.hypot(error, its_error))
    said = "stand apart" if abs(one - other) > half else "can’t be told apart"
    return (
        f"The best learned policy for the mixture, {learned[0].report['name']}, gains {one - other:+.3f} ± {half:.3f} "
        f"over the best built-in one, {fixed[0].report['name']}: the two {said}."
    )


def cost_figure(reports: Sequence[Mapping[str, Any]]) -> str:
    """Gain against images an episode, as SVG."""
    import io

    from steer_env.evaluation import plots

    figure, axes = plots.canvas(7, 3.6)
    for place, name in enumerate(dict.fromkeys(report["track"] for report in reports)):
        own = [report for report in reports if report["track"] == name and report["images"]]
        gains = [report["users"][PLAIN]["gain"] for report in own]
        axes.errorbar(
            [report["images"] for report in own],
            [gain for gain, _ in gains],
            [1.96 * error for _, error in gains],
            fmt="o",
            ms=5,
            capsize=2,
            color=plots.colour(place),
            label=TRACKS[name].title,
        )
    axes.set(xlabel="images an episode, goal and first image included", ylabel="gain, greedy user", xscale="log")
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small")
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
