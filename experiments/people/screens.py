"""From a person's events to the screen. Nothing else decides what a person sees, or whether the worker is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.people.log import Log
from experiments.people.study import Condition, Study

NO_SESSION = -1


@dataclass(frozen=True)
class Screen:
    """What a person has before them.

    Args:
        name: of the template.
        session: the person's, from 0; −1 outside of sessions.
        place: round, attempt or question, from 0.
        answer: kind of the event that ends it; empty for a screen that waits or is the last.
        data: what the template and the worker need.
    """

    name: str
    session: int = NO_SESSION
    place: int = 0
    answer: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> str:
        """What a form says that it answers; another one on every screen."""
        return f"{self.session}.{self.name}.{self.answer}.{self.place}"

    @property
    def waits(self) -> bool:
        """Is the worker needed?"""
        return self.name == "wait"

    @property
    def is_last(self) -> bool:
        """Does it stay for ever?"""
        return not self.answer and not self.waits


def screen_of(log: Log, study: Study) -> Screen:
    """The screen of a person with these events."""
    outside = {kind: data for (session, kind, _), data in log.items() if session == NO_SESSION}
    if not outside.get("consented", {"agrees": True})["agrees"]:
        return Screen("declined")
    for name, kind in (("consent", "consented"), ("instructions", "instructed")):
        if kind not in outside:
            return Screen(name, answer=kind)
    if "assigned" not in outside:
        return Screen("full", answer="assigned")
    plan = outside["assigned"]
    if failures(log) > study.options.failures:
        return Screen("failed")
    for session, (condition, _) in enumerate(plan["cells"]):
        of_session = {(kind, place): data for (own, kind, place), data in log.items() if own == session}
        step = _KINDS[study.conditions[condition].kind](
            study.conditions[condition], of_session, plan["attention"][session]
        )
        if step:
            name, place, answer, data = step
            return Screen(name, session, place, answer, {**data, "condition": condition})
    if "remarked" not in outside:
        return Screen("remarks", answer="remarked")
    return Screen("done")


def failures(log: Log) -> int:
    """Attention checks that a person has failed."""
    return sum(not data["passed"] for (_, kind, _), data in log.items() if kind == "checked")


Step = tuple[str, int, str, dict[str, Any]]
"""Screen's name, place, kind of the answer, and data."""
Session = Mapping[tuple[str, int], Mapping[str, Any]]
"""Events of a session: kind and place → data."""


def _images(condition: Condition, log: Session, checked: int) -> Step | None:
    if condition.options.first == "own":
        if ("begun", 0) not in log:
            return ("wait", 0, "", {"for": "begun"})
        if ("written", 0) not in log:
            return ("write", 0, "written", {"attempts": 1, "before": None, "items": []})
    for place in range(condition.steps):
        if place == checked and ("checked", place) not in log:
            return ("steer", place, "checked", _check(log, place))
        if ("offered", place) not in log:
            return ("wait", place, "", {"for": "offered"})
        if ("chosen", place) not in log:
            offered = log["offered", place]
            items = [(place, item) for item in offered["order"]]
            return ("steer", place, "chosen", {"items": items, "held": offered["order"].index(0)})
    return None


def _check(log: Session, place: int) -> dict[str, Any]:
    """The goal, and what wasn't chosen a round before."""
    before = place - 1
    others = [item for item in sorted(log["offered", before]["order"]) if item != log["chosen", before]["choice"]]
    items = [(before, item) for item in others]
    items.insert(log["offered", before]["order"][0] % (len(items) + 1), (-1, 0))
    return {"items": items, "held": None}


def _texts(condition: Condition, log: Session, _: int) -> Step | None:
    if ("begun", 0) not in log:
        return ("wait", 0, "", {"for": "begun"})
    for place in range(condition.steps):
        if ("written", place) not in log:
            before = log["written", place - 1] if place else None
            return (
                "write",
                place,
                "written",
                {"attempts": condition.steps, "before": before, "items": [(i, 0) for i in range(place)]},
            )
        if ("made", place) not in log:
            return ("wait", place, "", {"for": "made"})
    if ("seen", condition.steps - 1) not in log:
        return ("seen", condition.steps - 1, "seen", {"items": [(i, 0) for i in range(condition.steps)]})
    return None


_KINDS = {"images": _images, "text": _texts}
