"""From a person's events to the screen. Nothing else decides what a person sees, or whether the worker is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.people.log import GOAL, NO_SESSION, Log, of_session
from experiments.people.study import Condition, Study


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
        """Names the screen that a form answers; it differs from screen to screen."""
        return f"{self.session}.{self.name}.{self.answer}.{self.place}"

    @property
    def waits(self) -> bool:
        """Is the worker needed?"""
        return self.name == "wait"


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
    if "broken" in outside:
        return Screen("explored", data=outside["broken"])
    if failures(log) > study.options.failures:
        return Screen("failed")
    for session, (_, goal) in enumerate(plan["cells"]):
        sitting = Sitting(study, study.condition_of(plan, session), plan, session, goal)
        if step := _KINDS[sitting.condition.kind](sitting, of_session(log, session)):
            name, place, answer, data = step
            return Screen(name, session, place, answer, {**data, "sitting": sitting})
    if "explore" in plan:
        return Screen("explored")
    if "remarked" not in outside:
        return Screen("remarks", answer="remarked")
    return Screen("done")


@dataclass(frozen=True)
class Sitting:
    """A person's session, from 0, of all that the plan assigns; its goal is a task, or which of the things to rate."""

    study: Study
    condition: Condition
    plan: Mapping[str, Any]
    session: int
    goal: int


def failures(log: Log) -> int:
    """Attention checks that a person has failed."""
    return sum(not data["passed"] for (_, kind, _), data in log.items() if kind == "checked")


Step = tuple[str, int, str, dict[str, Any]]
"""Screen's name, place, kind of the answer, and data."""
Session = Mapping[tuple[str, int], Mapping[str, Any]]
"""Events of a session: kind and place → data."""


def _images(sitting: Sitting, log: Session) -> Step | None:
    condition, checked = sitting.condition, sitting.plan["attention"][sitting.session]
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
            similar = [offered["similarities"][item] for item in offered["order"]]
            return ("steer", place, "chosen", {"items": items, "held": offered["order"].index(0), "similar": similar})
    return None


def _check(log: Session, place: int) -> dict[str, Any]:
    """The goal, and what wasn't chosen a round before."""
    before = place - 1
    others = [item for item in sorted(log["offered", before]["order"]) if item != log["chosen", before]["choice"]]
    items = [(before, item) for item in others]
    items.insert(log["offered", before]["order"][0] % (len(items) + 1), (GOAL, 0))
    return {"items": items, "held": None}


def _texts(sitting: Sitting, log: Session) -> Step | None:
    """Of images, and of headlines."""
    steps, name = sitting.condition.steps, "write" if sitting.condition.kind == "text" else "headline"
    if ("begun", 0) not in log:
        return ("wait", 0, "", {"for": "begun"})
    for place in range(steps):
        made = [(i, 0) for i in range(place)]
        if ("written", place) not in log:
            data = {"attempts": steps, "before": log["written", place - 1] if place else None, "items": made}
            return (name, place, "written", {**data, **_headline(log, place)})
        if ("made", place) not in log:
            return ("wait", place, "", {"for": "made"})
    if ("seen", steps - 1) not in log:
        return ("seen", steps - 1, "seen", {"items": [(i, 0) for i in range(steps)], **_headline(log, steps)})
    return None


def _headline(log: Session, attempts: int) -> dict[str, Any]:
    """Original, goal, and instructions and texts so far; nothing where people steer images."""
    begun = log["begun", 0]
    if "original" not in begun:
        return {}
    tried = [(log["written", place]["prompt"], log["made", place]["text"]) for place in range(attempts)]
    return {"original": begun["original"], "goal": begun["goal"], "tried": tried}


def _ratings(sitting: Sitting, log: Session) -> Step | None:
    options, sources = sitting.condition.options, sitting.study.sources[sitting.plan["cells"][sitting.session][0]]
    for place in range(options.goals):
        if ("rated", place) not in log:
            number = (sitting.goal * options.goals + place) % len(sources)
            source = sources[number]
            rated = 0 if options.attempt == "first" else source.attempts - 1
            attempts = {
                "similarity": [*range(source.attempts), GOAL],
                "satisfaction": [*range(source.attempts)],
                "improvement": [0, source.attempts - 1],
                "prompt": [GOAL, rated],
            }[options.question]
            order = sitting.study.order(sitting.plan["person"], sitting.session, place, len(attempts))
            data = {"question": options.question, "source": number, "items": [(attempts[i], 0) for i in order]}
            name = "rate" if options.question in SCALES else "compare"
            return (name, place, "rated", {**data, "held": None, "prompt": source.prompt(rated)})
    return None


SCALES = {"similarity": 10, "satisfaction": 4}
"""Points of the questions that have a scale."""
_KINDS = {"images": _images, "text": _texts, "headlines": _texts, "ratings": _ratings}
