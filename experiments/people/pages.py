"""The pages that people see, and what they send."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from experiments.people.answers import LONGEST, AnswerError, answer
from experiments.people.log import GOAL, Store
from experiments.people.screens import SCALES, Screen, screen_of
from experiments.people.study import Study
from experiments.run.headlines.rule import forbidden_words

HERE = Path(__file__).parent
_PATIENCE, _LOOK = 1.5, 0.03
"""Seconds for which a page is held back until images are there, and between looks."""
_PLATFORM = {
    "none": (),
    "prolific": ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    "mturk": ("workerId", "assignmentId", "hitId", "turkSubmitTo"),
}
_LONGEST_ID = 128
_STRANGE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, but for tabs and ends of lines; and halves of letters."""
_TURK = ("https://www.mturk.com", "https://workersandbox.mturk.com")
Handler = Callable[[Request], Awaitable[Response]]


async def form_of(request: Request) -> dict[str, str]:
    """The texts of a form: what a browser never sends, such as half a letter, no table could be written with."""
    form = await request.form(max_files=0, max_fields=20)
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    return {name: re.sub(_STRANGE, "\ufffd", value) for name, value in texts.items()}


class Pages:
    """Handlers of requests: they show a study, and answers go to its store."""

    def __init__(self, study: Study, store: Store) -> None:
        self._study, self._store, self._options = study, store, study.options
        self._secret = store.secret()
        self._queue: tuple[set[int], float] = (set(), 0.0)
        self._templates = Jinja2Templates(directory=HERE / "templates")
        self._templates.env.trim_blocks = self._templates.env.lstrip_blocks = True
        self._templates.env.globals["study"] = study.options

    def csrf(self, what: str) -> str:
        """A token that only a page of this server can know."""
        return hmac.new(self._secret.encode(), what.encode(), hashlib.sha256).hexdigest()[:32]

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """A template as an answer."""
        return self._templates.TemplateResponse(request, f"{name}.html", values, status_code=status)

    def _problem(self, request: Request, status: int, text: str) -> Response:
        return self.page(request, "problem", status, text=text)

    async def form(self, request: Request, what: str) -> dict[str, str] | None:
        """The texts of a form; None if no page of this server sent it."""
        texts = await form_of(request)
        return texts if hmac.compare_digest(texts.get("csrf", "").encode(), self.csrf(what).encode()) else None

    async def arrival(self, request: Request) -> Response:
        """The first page, before a person has a token."""
        known = self._platform(request.query_params)
        lacking = [name for name in list(known)[:1] if not known[name]]
        return self.page(request, "arrival", known=known, lacking=lacking, csrf=self.csrf("arrive"))

    def _platform(self, values: Mapping[str, str]) -> dict[str, str]:
        """What the platform says of a person."""
        names = _PLATFORM[self._options.codes.platform]
        return {name: values.get(name, "")[:_LONGEST_ID] for name in names}

    async def arrive(self, request: Request) -> Response:
        """A new person."""
        form = await self.form(request, "arrive")
        if form is None:
            return self._problem(request, 403, "This page is too old. Please open the study's link again.")
        if self._store.active(60 * self._options.patience) >= self._options.web.people:
            return self._problem(request, 503, "Too many people are taking part right now. Please come back later.")
        known = self._platform(form)
        if known.get("turkSubmitTo") not in _TURK:
            known["turkSubmitTo"] = ""
        known = {name: value for name, value in known.items() if value}
        return RedirectResponse(f"/s/{self._store.arrive(known)}", 303)

    def personal(self, handler: Callable[[Request, int], Awaitable[Response]]) -> Handler:
        """A handler of requests of the person whose token the address holds; for any other token there is no page."""

        async def handled(request: Request) -> Response:
            person = self._store.person(request.path_params["token"])
            return await (self.missing(request) if person is None else handler(request, person))

        return handled

    async def screen(self, request: Request, person: int) -> Response:
        """The person's screen; images that are nearly there are awaited."""
        return self._show(request, person, await self._settled(person))

    async def _settled(self, person: int) -> Screen:
        """The person's screen, once it doesn't wait any more, or patience is at its end."""
        end = time.monotonic() + _PATIENCE
        while (screen := self._screen(person)).waits and time.monotonic() < end:
            await anyio.sleep(_LOOK)
            while person in self._waiting() and time.monotonic() < end:
                await anyio.sleep(_LOOK)
        return screen

    def _waiting(self) -> set[int]:
        """Who waits for the worker; all who ask share one look at the queue."""
        queue, looked = self._queue
        if time.monotonic() - looked > _LOOK:
            queue = set(self._store.queue())
            self._queue = queue, time.monotonic()
        return queue

    async def answer(self, request: Request, person: int) -> Response:
        """Take what a person sends; whatever it is, the person's screen follows."""
        token = request.path_params["token"]
        form = await self.form(request, token)
        if form is None:
            return self._problem(request, 403, "This page is too old. Please reload it, and try again.")
        try:
            answer(self._store, self._study, person, form)
        except AnswerError as error:
            return self._show(request, person, self._screen(person), 422, error=str(error), given=form)
        return RedirectResponse(f"/s/{token}", 303)

    async def state(self, request: Request, person: int) -> Response:
        """What the page asks while it waits: the step that the person is at, and the place in the queue."""
        screen = await self._settled(person)
        return JSONResponse({"step": screen.step, "place": self._store.place_in_queue(person)})

    async def picture(self, request: Request, person: int) -> Response:
        """A picture of the screen that the person has now, and no other."""
        screen, item, png = self._screen(person), request.path_params["item"], None
        if screen.step == request.path_params["step"]:
            if item == "goal":
                png = self._picture(person, screen, GOAL, 0)
            elif item.isdecimal() and len(item) < 4 and int(item) < len(screen.data.get("items", ())):
                png = self._picture(person, screen, *screen.data["items"][int(item)])
        return Response(png, media_type="image/png") if png else Response(status_code=404)

    async def words(self, request: Request, person: int) -> Response:
        """The forbidden words in what a person is typing."""
        screen = self._screen(person)
        if screen.name != "headline":
            return JSONResponse({"words": []}, 404)
        form = await form_of(request)
        text = form.get("prompt", "")[: 2 * LONGEST]
        return JSONResponse({"words": forbidden_words(text, screen.data["original"], screen.data["goal"])})

    async def leave(self, request: Request, person: int) -> Response:
        """Ask whether a person wants to withdraw."""
        token = request.path_params["token"]
        return self.page(request, "withdraw", token=token, csrf=self.csrf(token))

    async def withdraw(self, request: Request, person: int) -> Response:
        """Delete all that is known of a person."""
        if await self.form(request, request.path_params["token"]) is None:
            return self._problem(request, 403, "This page is too old. Please reload it, and try again.")
        self._store.forget(person)
        return self.page(request, "withdrawn")

    async def missing(self, request: Request, _: Exception | None = None) -> Response:
        """No such page."""
        return self._problem(request, 404, "There is no such page. Please open the study's link again.")

    async def gone(self, request: Request, _: Exception) -> Response:
        """A request that broke off, or was cut off as too large."""
        return Response(status_code=400)

    async def broken(self, request: Request, _: Exception) -> Response:
        """A fault of ours."""
        return self._problem(request, 500, "Something went wrong here. Please reload the page: nothing is lost.")

    def _picture(self, person: int, screen: Screen, place: int, item: int) -> bytes | None:
        """Of the session, or of what is rated in it."""
        if "source" in screen.data:
            sitting = screen.data["sitting"]
            condition = sitting.plan["cells"][screen.session][0]
            return self._store.source_picture(condition, screen.data["source"], place)
        return self._store.picture(person, screen.session, place, item)

    def _screen(self, person: int) -> Screen:
        return screen_of(self._store.log(person), self._study)

    def _show(self, request: Request, person: int, screen: Screen, status: int = 200, **values: Any) -> Response:
        token = request.path_params["token"]
        log = self._store.log(person)
        plan = log.get((-1, "assigned", 0), {"cells": []})
        condition = screen.data["sitting"].condition if "sitting" in screen.data else None
        shown: dict[str, Any] = {
            "screen": screen,
            "token": token,
            "csrf": self.csrf(token),
            "place": self._store.place_in_queue(person),
            "sessions": len(plan["cells"]),
            "condition": condition,
            "consent": self._study.consent.split("\n\n"),
            "instructions": self._study.instructions.split("\n\n") if self._study.instructions else [],
            "longest": LONGEST,
            "kinds": sorted({each.kind for each in self._study.conditions}),
            "codes": self._options.codes,
            "given": {},
            "error": "",
            "progress": progress(screen, plan, self._study),
            "explore": plan.get("explore"),
            "platform": self._store.platform(person),
            "scales": SCALES,
        }
        return self.page(request, screen.name, status, **{**shown, **values})


def progress(screen: Screen, plan: Mapping[str, Any], study: Study) -> int:
    """Percent of all steps that are behind the person, from 0 to 100."""
    if screen.name in ("consent", "instructions", "full"):
        return 0
    if screen.name == "remarks" or not (screen.answer or screen.waits):
        return 100
    steps = [study.condition_of(plan, session).steps for session in range(len(plan["cells"]))]
    done = sum(steps[: screen.session]) + screen.place
    return round(100 * done / max(1, sum(steps)))
