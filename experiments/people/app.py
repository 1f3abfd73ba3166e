"""The server: Starlette's routes, and what guards them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from experiments.people.log import Store
from experiments.people.options import PeopleOptions
from experiments.people.pages import HERE, Pages
from experiments.people.researcher import Researcher
from experiments.people.study import Study

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
LARGEST = 16_384
"""Bytes of a request's body."""
_BURST = 20
_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; font-src 'none'; "
    "base-uri 'none'; form-action 'self'{forms}; frame-ancestors {frames}"
)
_MTURK = "https://www.mturk.com https://workersandbox.mturk.com"


class Guard:
    """Limits of size and rate, and headers for every answer."""

    def __init__(self, app: Any, options: PeopleOptions) -> None:
        self._app, self._rate = app, options.web.requests_per_second
        self._arrivals = options.web.arrivals_per_minute / 60
        self._buckets: dict[str, tuple[float, float]] = {}
        mturk = options.codes.platform == "mturk"
        policy = _POLICY.format(forms=f" {_MTURK}" if mturk else "", frames=_MTURK if mturk else "'none'")
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), interest-cohort=()"),
            (b"x-robots-tag", b"noindex, nofollow"),
            *([] if mturk else [(b"x-frame-options", b"DENY")]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        guarded = self._headed(scope, send)
        if not self._allows(scope):
            text = "Too many requests. Please wait a moment, then reload."
            await PlainTextResponse(text, 429, {"retry-after": "5"})(scope, receive, guarded)
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > LARGEST or len(scope["raw_path"]) + len(scope["query_string"]) > 2000:
            await PlainTextResponse("That is too large.", 413)(scope, receive, guarded)
            return
        await self._app(scope, self._bounded(receive), guarded)

    def _allows(self, scope: Scope) -> bool:
        """A token bucket for each person, and for each address that isn't a person's."""
        parts, rate = scope["path"].split("/"), self._rate
        key = parts[2] if len(parts) > 2 and parts[1] == "s" else (scope.get("client") or ("",))[0]
        if scope["path"] == "/arrive":
            key, rate = f"arrivals from {key}", self._arrivals
        now, full = time.monotonic(), max(1.0, _BURST * rate)
        if len(self._buckets) > 10_000:
            self._buckets = {k: v for k, v in self._buckets.items() if now - v[1] < _BURST}
        left, before = self._buckets.get(key, (full, now))
        left = min(full, left + (now - before) * rate)
        self._buckets[key] = (left - (left >= 1), now)
        return left >= 1

    def _bounded(self, receive: Receive) -> Receive:
        """Bodies whose length isn't announced are cut off, too."""
        seen = 0

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return {"type": "http.disconnect"} if seen > LARGEST else message

        return bounded

    def _headed(self, scope: Scope, send: Send) -> Send:
        cached = scope["path"].startswith("/static/")

        async def headed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                keep = b"public, max-age=3600" if cached else b"no-store"
                message["headers"] = [*message["headers"], *self._headers, (b"cache-control", keep)]
            await send(message)

        return headed


def make_app(study: Study, store: Store, options: PeopleOptions) -> Starlette:
    """The server's application."""
    pages = Pages(study, store)
    own = Researcher(pages, study, store)
    routes = [
        Route("/results", own.guarded(own.results)),
        Route("/results/figure/{name}.png", own.guarded(own.figure)),
        Route("/results/{name}", own.guarded(own.table)),
        Route("/explore", own.guarded(own.explore)),
        Route("/explore", own.guarded(own.begin), methods=["POST"]),
        Route("/", pages.arrival),
        Route("/arrive", pages.arrive, methods=["POST"]),
        Route("/s/{token}", pages.personal(pages.screen)),
        Route("/s/{token}", pages.personal(pages.answer), methods=["POST"]),
        Route("/s/{token}/state", pages.personal(pages.state)),
        Route("/s/{token}/words", pages.personal(pages.words), methods=["POST"]),
        Route("/s/{token}/withdraw", pages.personal(pages.leave)),
        Route("/s/{token}/withdraw", pages.personal(pages.withdraw), methods=["POST"]),
        Route("/s/{token}/picture/{step}/{item}.png", pages.personal(pages.picture)),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    handlers: dict[Any, Any] = {404: pages.missing, 500: pages.broken, ClientDisconnect: pages.gone}
    # Who is asked without a password answers to no other name: a page elsewhere whose name leads here reads nothing.
    names = ["*"] if options.web.password or ":" in options.web.host else [options.web.host, "localhost"]
    guards = [Middleware(Guard, options=options), Middleware(TrustedHostMiddleware, allowed_hosts=names)]
    return Starlette(routes=routes, middleware=guards, exception_handlers=handlers)
