"""Finished sessions, read from the log: which count, and their traces, as simulated users leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from experiments.people.log import Store, session_name
from experiments.run.headlines.tasks import prompt_for
from steer_env.traces import PERSON, SteeringTrace
from steer_env.types import Task

Events = Mapping[tuple[str, int], Mapping[str, Any]]
"""Of a session: kind and place → data."""


@dataclass(frozen=True)
class Session:
    """A finished one: whose, which of the person's, from 0, and the condition and goal that were assigned."""

    store: Store
    person: int
    number: int
    cell: tuple[int, int]

    @property
    def human(self) -> str:
        """What traces and tables call the person."""
        return f"{PERSON}{self.person}"

    @property
    def name(self) -> str:
        """What tables of ratings and learners call it."""
        return session_name(self.person, self.number)

    @cached_property
    def events(self) -> Events:
        """All that happened in it; nothing once the person has withdrawn."""
        return self.store.session(self.person, self.number)

    @property
    def trace(self) -> SteeringTrace:
        """Of a session of steering."""
        facts = dict((self.events.get(("begun", 0)) or self.events["offered", 0])["facts"])
        task = Task(**facts.pop("task"))
        if written := self.events.get(("written", 0)):
            task = replace(task, prompt=written["prompt"])
        steps = _images(self.events) if ("offered", 0) in self.events else _texts(self.events)
        return SteeringTrace.of(task, human=self.human, **facts, **steps)


def ended(store: Store) -> list[Session]:
    """Sessions that count, in the order in which they ended; not of people who failed the checks of attention."""
    plans = {plan.person: plan for plan in store.plans() if not plan.failed}
    return [
        Session(store, person, number, plans[person].cells[number])
        for person, number in store.ended()
        if person in plans
    ]


def once(sessions: Sequence[Session]) -> list[Session]:
    """Of a cell that two people played, the first one's session."""
    firsts: dict[tuple[int, int], Session] = {}
    for session in sessions:
        firsts.setdefault(session.cell, session)
    return list(firsts.values())


def _in_order(events: Events, kind: str) -> list[Mapping[str, Any]]:
    """Data of a session's events of one kind, by their places."""
    return [data for (own, _), data in sorted(events.items()) if own == kind]


def _images(events: Events) -> dict[str, Any]:
    offers = _in_order(events, "offered")
    choices = [chosen["choice"] for chosen in _in_order(events, "chosen")]
    return {
        "scales": [offer["scale"] for offer in offers],
        "choices": choices,
        "similarities": _held([offer["similarities"] for offer in offers], choices),
        "judged": {name: _held([offer["judged"][name] for offer in offers], choices) for name in offers[0]["judged"]},
        "propensities": [offer["propensity"] for offer in offers],
        **{name: offers[-1].get(name) for name in ("images", "passes")},
    }


def _held(shown: list[list[float]], choices: list[int]) -> list[float]:
    """Of the first image, and of each that was gone on with."""
    return [shown[0][0], *(values[choice] for values, choice in zip(shown, choices, strict=True))]


def _texts(events: Events) -> dict[str, Any]:
    """Of attempts at images, or at headlines."""
    made, written = _in_order(events, "made"), _in_order(events, "written")
    prompts = [event["prompt"] for event in written]
    if original := events["begun", 0].get("original"):
        prompts = [prompt_for(original, prompt) for prompt in prompts]
    chosen = {"seeds": "seed", "guidance": "guidance"}
    return {
        "prompts": prompts,
        "similarities": [event["similarity"] for event in made],
        "judged": {name: [event["judged"][name] for event in made] for name in made[0]["judged"]},
        **{field: [event[name] for event in written] for field, name in chosen.items() if name in written[0]},
        **({"texts": [event["text"] for event in made]} if "text" in made[0] else {}),
        **{name: made[-1][name] for name in ("images", "passes") if name in made[-1]},
    }
