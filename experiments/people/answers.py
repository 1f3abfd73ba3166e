"""From what a browser sends to events; whatever it sends is checked here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from experiments.people.log import GOAL, NO_SESSION, Event, Store
from experiments.people.screens import SCALES, Screen, failures, screen_of
from experiments.people.study import Study
from experiments.run.headlines.rule import forbidden_words
from steer_env.humans.prompts import CHARACTERS

LONGEST = 1000
"""Of a prompt and of remarks, in characters."""
TIMINGS = ("ms", "loaded", "hidden", "width", "height")
"""Milliseconds from the images to the choice, to load the images, and hidden; and pixels of the window."""
_MOST = 10**9
Form = Mapping[str, str]


class AnswerError(ValueError):
    """Something that a person can mend, in words for them."""


def answer(store: Store, study: Study, person: int, form: Form) -> Screen:
    """Take an answer, if it is one to the screen that the person has now; returns the screen that follows.

    An AnswerError says what to mend; nothing has happened then.
    """
    with store.transaction():
        screen = screen_of(store.log(person), study)
        if form.get("step") != screen.step or not screen.answer:
            return screen
        data = _ANSWERS[screen.answer](study, screen, form)
        if screen.answer == "assigned":
            events = []
        else:
            timings = {name: number for name in TIMINGS if (number := _number(form.get(name, ""))) is not None}
            events = [Event(screen.session, screen.answer, screen.place, {**data, **timings})]
        if screen.answer in ("instructed", "assigned") and (plan := _plan(store, study, person)):
            events.append(Event(NO_SESSION, "assigned", 0, plan))
        log = store.append(person, events)
        after = screen_of(log, study)
        if screen.session >= 0 and after.session != screen.session and after.name != "failed":
            log = store.append(person, [Event(screen.session, "finished", 0, {})])
        if after.name == "failed":
            store.append(person, [Event(NO_SESSION, "failed", 0, {"failures": failures(log)})])
        return after


def _plan(store: Store, study: Study, person: int) -> dict[str, Any] | None:
    plans = store.plans()
    cells = study.plan(person, assigned(store, study), len(plans))
    return {"person": person, "cells": cells, "attention": study.attention(person, cells)} if cells else None


def assigned(store: Store, study: Study) -> dict[tuple[int, int], int]:
    """By condition and goal, sessions that are finished, or whose people have shown themselves lately."""
    counts: dict[tuple[int, int], int] = {}
    lately = time.time() - 60 * study.options.patience
    for plan in store.plans():
        for session, cell in enumerate(plan.cells):
            if session in plan.finished or (plan.seen > lately and not plan.failed):
                counts[cell] = counts.get(cell, 0) + (not plan.failed)
    return counts


def _number(text: str) -> int | None:
    return min(int(text), _MOST) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _consented(study: Study, screen: Screen, form: Form) -> dict[str, Any]:
    if form.get("agrees") not in ("yes", "no"):
        raise AnswerError("Please say whether you agree.")
    return {"agrees": form["agrees"] == "yes", "version": study.consent_version}


def _nothing(study: Study, screen: Screen, form: Form) -> dict[str, Any]:
    return {}


def _chosen(study: Study, screen: Screen, form: Form) -> dict[str, Any]:
    position = _position(screen, form)
    chosen = {"position": position, "choice": screen.data["items"][position][1]}
    if "scale" in form and "explore" in screen.data["sitting"].plan:
        chosen["scale"] = _between(0, 1, form["scale"], "Please give a mixture scale from 0 to 1.")
    return chosen


def _between(low: float, high: float, text: str, complaint: str) -> float:
    with suppress(ValueError):
        if low <= (number := float(text)) <= high:
            return number
    raise AnswerError(complaint)


def _rated(study: Study, screen: Screen, form: Form) -> dict[str, Any]:
    attempts = [attempt for attempt, _ in screen.data["items"]]
    rated = {"question": screen.data["question"], "source": screen.data["source"], "attempts": attempts}
    if screen.data["question"] not in SCALES:
        position = _position(screen, form)
        return {**rated, "values": [int(place == position) for place in range(len(attempts))]}
    values = [_number(form.get(f"value-{place}", "")) for place in range(len(attempts))]
    if not all(value is not None and 1 <= value <= SCALES[screen.data["question"]] for value in values):
        raise AnswerError("Please rate every image.")
    return {**rated, "values": values}


def _checked(study: Study, screen: Screen, form: Form) -> dict[str, Any]:
    position = _position(screen, form)
    return {"position": position, "passed": tuple(screen.data["items"][position]) == (GOAL, 0)}


def _position(screen: Screen, form: Form) -> int:
    position = _number(form.get("position", ""))
    if position is None or position >= len(screen.data["items"]):
        raise AnswerError("Please pick one of the images.")
    return position


def _written(study: Study, screen: Screen, form: Form) -> dict[str, Any]:
    prompt = " ".join(form.get("prompt", "").split())
    if not prompt:
        raise AnswerError("Please describe the image in words.")
    if len(prompt) > LONGEST:
        raise AnswerError(f"Please use at most {LONGEST} characters; there are {len(prompt)}.")
    if strange := sorted(set(prompt) - _KNOWN):
        raise AnswerError(f"Please leave out {strange[0]!r}.")
    if screen.name == "headline" and (words := forbidden_words(prompt, screen.data["original"], screen.data["goal"])):
        raise AnswerError(f"These words are the goal’s alone: {', '.join(words)}. Please say it in other words.")
    options = screen.data["sitting"].condition.options
    return {"prompt": prompt, **{name: _SETTINGS[name](form) for name in getattr(options, "choose", ())}}


def _seed(form: Form) -> int:
    seed = _number(form.get("seed", ""))
    if seed is None or seed >= 2**31:
        raise AnswerError("Please give a whole number as the seed, such as 42.")
    return seed


def _guidance(form: Form) -> float:
    return _between(1, 10, form.get("guidance", ""), "Please give a number from 1 to 10 as the guidance.")


def _remarked(study: Study, screen: Screen, form: Form) -> dict[str, Any]:
    remarks = form.get("remarks", "").strip()
    if len(remarks) > LONGEST:
        raise AnswerError(f"Please use at most {LONGEST} characters; there are {len(remarks)}.")
    return {"remarks": remarks}


_KNOWN = frozenset(CHARACTERS)
_SETTINGS: Mapping[str, Callable[[Form], Any]] = {"seed": _seed, "guidance": _guidance}
_ANSWERS: Mapping[str, Callable[[Study, Screen, Form], dict[str, Any]]] = {
    "consented": _consented,
    "instructed": _nothing,
    "assigned": _nothing,
    "chosen": _chosen,
    "checked": _checked,
    "written": _written,
    "rated": _rated,
    "seen": _nothing,
    "remarked": _remarked,
}
