"""The board as pages that need no other file: a table for each track, and a page for each entry."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.board.entries import DECIDED, TRACKS, Track
from steer_env.evaluation import plots
from steer_env.evaluation.uncertainty import Estimate, Interval, estimate
from steer_env.files import LARGEST, read_json, read_plain, read_sealed, write_atomically

JUDGE = "pixel-correlation"
MECHANISMS = Track("Mechanisms", "", "", ())
"""Tracks with nothing to decide, which have one entry each, stand in one table."""
PLAIN = "greedy"
FIELDS = (
    *("identity", "track", "name", "reference", "card", "policy", "date", "drawn", "tasks", "generator", "metric"),
    *("mechanism", "versions", "users", "private", "gains", "images", "passes", "attempts"),
)
"""Of a report."""
RANKED = "over_random"
"""What entries are ranked by, with the plain user."""


@dataclass(frozen=True)
class Row:
    """An entry's line: its report, and the ends of its rank in the track, as far as they are sure."""

    report: Mapping[str, Any]
    best: int
    worst: int

    @property
    def identity(self) -> str:
        """First digits of the hash, which names its page."""
        return str(self.report["identity"])[:16]

    @property
    def rank(self) -> str:
        """Its place, or the places that it shares."""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"

    def interval(self, user: str = PLAIN, measure: str = RANKED, of: str = "users") -> Interval | None:
        """A mean with its 95 % interval; None where it wasn't measured."""
        numbers = (self.report[of] or {}).get(user)
        return _interval(numbers[measure], self.report["tasks"]) if numbers else None


@dataclass(frozen=True)
class Scale:
    """What bars are drawn in, the same wherever users choose images: gains over random scales, with three lines.

    ``luck`` is the gain of the best of as many fresh images; ``bound``, what four choices can carry, where it is known,
    see :mod:`experiments.headroom`.
    """

    low: float
    high: float
    luck: float
    bound: float | None

    def at(self, value: float) -> float:
        """A value's place, in per cent of the width."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @property
    def lines(self) -> dict[str, float]:
        """Name of each line → its place."""
        known = {"random": 0.0, "luck": self.luck} | ({"bound": self.bound} if self.bound else {})
        return {name: self.at(value) for name, value in known.items()}


def scale_of(reports: Sequence[Mapping[str, Any]], headroom: Path) -> Scale:
    """Where luck, the bound and all intervals are.

    Luck was played for each draw of tasks, with the entries; its mean over draws stands for all. ``headroom`` is
    experiments.headroom's ``headroom.json``, where there is one.
    """
    draws = {(each["drawn"]["tasks"], each["tasks"]): each["users"][PLAIN] for each in reports}
    over = [each[RANKED][0] - each["over_luck"][0] for each in draws.values()]
    luck, bound = float(np.average(over, weights=[tasks for _, tasks in draws])), None
    if headroom.exists():
        try:
            rows = {row["name"]: row["gain"] for row in read_json(headroom)["rows"]}
            bound = rows["leaves"]["value"] - rows["random-bucket"]["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{headroom} isn't what experiments.headroom writes: {error!r}") from error
    ends = [_interval(report["users"][PLAIN][RANKED], report["tasks"]) for report in reports]
    low, high = min(0.0, luck, *(end.low for end in ends)), max(luck, bound or 0.0, *(end.high for end in ends))
    margin = 0.04 * (high - low) or 0.01
    return Scale(low - margin, high + margin, luck, bound)


def _interval(number: Sequence[float], tasks: int) -> Interval:
    """Of a mean over tasks and its standard error."""
    value, error = number
    return Estimate(value, error, tasks, tasks - 1).interval()


def _gain(report: Mapping[str, Any]) -> float:
    return float(report["users"][PLAIN][RANKED][0])


def read_reports(folder: Path) -> list[dict[str, Any]]:
    """All reports, checked.

    Raises:
        ValueError: one whose content isn't what the verifier sealed, that lacks a field, or whose name isn't its hash.
    """
    reports = []
    for path in sorted(folder.glob("*.json")):
        report = read_sealed(path)
        users = report.get("users")
        lacking = [name for name in FIELDS if name not in report]
        if not isinstance(users, dict) or RANKED not in users.get(PLAIN, ()):
            lacking.append(PLAIN)
        if lacking:
            raise ValueError(f"{path} is of another version: it lacks {lacking[0]!r}")
        if path.stem != report["identity"]:
            raise ValueError(f"{path} is the report of {report['identity']}")
        reports.append(report | {"strips": _strips(folder / "strips", report["identity"][:16])})
    return reports


def _strips(folder: Path, identity: str) -> list[str]:
    """Pictures of episodes, the best first, as data URIs."""
    pictures = sorted(folder.glob(f"{identity}-*.webp"))
    return [f"data:image/webp;base64,{base64.b64encode(read_plain(path, LARGEST)).decode()}" for path in pictures]


def apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> Interval:
    """How much more one gains than the other, with the plain user.

    Where both were played on the same tasks, those are compared; else, how much more they gain than the best schedule.
    """
    if one["drawn"] == other["drawn"] and one["tasks"] == other["tasks"]:
        return estimate(np.subtract(one["gains"], other["gains"])).interval()
    (mine, error), (its, its_error) = (each["users"][PLAIN]["over_schedule"] for each in (one, other))
    freedom = min(one["tasks"], other["tasks"]) - 1
    return Estimate(mine - its, float(np.hypot(error, its_error)), 0, freedom).interval()


def rows(reports: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A track's entries, best first, with ranks as intervals: better is what differs beyond a 95 % interval."""
    ordered = sorted(reports, key=_gain, reverse=True)
    better = np.array([[apart(one, other).low > 0 for other in ordered] for one in ordered])
    return [
        Row(report, 1 + int(better[:, place].sum()), len(ordered) - int(better[place].sum()))
        for place, report in enumerate(ordered)
    ]


def build(reports: Sequence[Mapping[str, Any]], folder: Path, headroom: Path) -> None:
    """Write ``index.html`` and ``entries/HASH.html`` into a folder, with :func:`scale_of`'s headroom."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    if not reports:
        raise ValueError("there are no reports yet: run python -m experiments.board verify references=true")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(), trim_blocks=True
    )
    environment.filters["gain"] = lambda estimate: f"{estimate.value:+.3f}" if estimate else "–"
    environment.filters["ends"] = lambda estimate: f"{estimate.low:+.3f} to {estimate.high:+.3f}" if estimate else ""
    tracks: dict[str, tuple[Track, list[Row], Scale]] = {}
    for name, track in sorted({**TRACKS, "mechanisms": MECHANISMS}.items(), key=lambda item: item[0] == "text"):
        where = [each for each, known in TRACKS.items() if name == (each if known.action else "mechanisms")]
        if own := [report for report in reports if report["track"] in where]:
            # Prompts gain and lose several times as much: on their scale the other bars would be dots.
            peers = own if name == "text" else [report for report in reports if report["track"] != "text"]
            tracks[name] = (track, rows(own), scale_of(peers, headroom))
    shared = {"judge": JUDGE, "users": ("hesitant", "noisy"), "decided": DECIDED}
    page = environment.get_template("index.html").render(
        tracks=tracks,
        figure=cost_figure(reports),
        private=any(report["private"] for report in reports),
        verdict=verdict(reports),
        **shared,
    )
    write_atomically(folder / "index.html", page)
    for track, ranked, _ in tracks.values():
        for row in ranked:
            curve = (row.report["card"] or {}).get("curve")
            page = environment.get_template("entry.html").render(
                row=row,
                report=row.report,
                track=track,
                attempts=course(range(1, 1 + len(row.report["attempts"])), row.report["attempts"], "attempt"),
                curve=course([x for x, _ in curve], [y for _, y in curve], "episodes of training") if curve else "",
                **shared,
            )
            write_atomically(folder / "entries" / f"{row.identity}.html", page)


def verdict(reports: Sequence[Mapping[str, Any]]) -> str:
    """Does the best learned entry stand apart from the best schedule, and from the last learned one? In sentences."""
    best = partial(max, key=_gain, default=None)
    mixture = [each for each in reports if TRACKS[each["track"]].mechanism == "mixture"]
    schedule: Any = best(each for each in mixture if each["reference"])
    learned = [each for each in mixture if each["card"] and each["card"]["episodes"]]
    rivals: dict[str, Any] = {
        "learned policy": best(learned),
        "mechanism": best(each for each in reports if not TRACKS[each["track"]].action),
    }
    if not schedule:
        return ""
    sentences = []
    for kind, rival in rivals.items():
        if rival is None:
            sentences.append(f"No {kind} has been verified yet.")
        else:
            lead = apart(rival, schedule)
            how = "stands apart from" if lead.low > 0 or lead.high < 0 else "doesn’t differ measurably from"
            name = rival["name"] if TRACKS[rival["track"]].action else rival["track"]
            sentences.append(
                f"The best {kind}, {name}, {how} the best built-in schedule, {schedule['name']}: {lead.value:+.3f}, "
                f"from {lead.low:+.3f} to {lead.high:+.3f}."
            )
    if len(learned) > 1:
        first, *_, last = sorted(learned, key=_gain, reverse=True)
        lead = apart(first, last)
        sentences.append(
            f"Of the learned policies the first, {first['name']}, gains {lead.value:+.3f} more than the last, "
            f"{last['name']}, from {lead.low:+.3f} to {lead.high:+.3f}."
        )
    return " ".join(sentences)


def course(places: Sequence[float], values: Sequence[float], label: str) -> str:
    """A line of similarities or gains, as SVG."""
    figure, axes = plots.canvas(4.4, 2.4)
    axes.plot(places, values, "o-", ms=4, color=plots.colour(0))
    plots.finish(axes, label, "similarity to the goal" if label == "attempt" else "mean improvement")
    return _svg(figure)


def cost_figure(reports: Sequence[Mapping[str, Any]]) -> str:
    """Gain over random scales against denoiser passes an episode, as SVG."""
    figure, axes = plots.canvas(7, 3.6)
    for place, name in enumerate(dict.fromkeys(report["track"] for report in reports)):
        own = [report for report in reports if report["track"] == name and report["passes"]]
        gains = [report["users"][PLAIN][RANKED] for report in own]
        axes.errorbar(
            [report["passes"] for report in own],
            [gain for gain, _ in gains],
            [1.96 * error for _, error in gains],
            fmt="o",
            ms=5,
            capsize=2,
            color=plots.colour(place),
            label=TRACKS[name].title,
        )
    axes.set_xscale("log")
    axes.axhline(0, color="black", lw=0.6)
    plots.finish(axes, "denoiser passes an episode; an image takes 2", "gain over random scales")
    axes.legend(fontsize="x-small", bbox_to_anchor=(1, 1), loc="upper left")
    return _svg(figure)


def _svg(figure: plots.Figure) -> str:
    import io

    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
