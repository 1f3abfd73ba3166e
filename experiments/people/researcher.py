"""The researcher's pages: how the study is doing, its results so far, what it leaves, and trying it by hand."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from experiments.people.answers import assigned
from experiments.people.export import progress_table, report_of, tables_of
from experiments.people.log import Store
from experiments.people.pages import Handler, Pages
from experiments.people.study import Study, check_policy
from steer_env.evaluation.reports import png
from steer_env.mechanisms import MECHANISMS
from steer_env.registry import resolve

USER = "researcher"
_DRAWING = threading.Lock()
"""Matplotlib draws one figure at a time."""


class Researcher:
    """Handlers of the researcher's requests, beside those of people."""

    def __init__(self, pages: Pages, study: Study, store: Store) -> None:
        self._pages, self._study, self._store, self._options = pages, study, store, study.options
        self._figures: dict[str, bytes] = {}

    def guarded(self, handler: Handler) -> Handler:
        """A handler behind the password, if there is one."""

        async def behind(request: Request) -> Response:
            password = self._options.web.password
            if password and not _matches(request.headers.get("authorization", ""), password):
                return Response(
                    "A password is needed.", 401, {"www-authenticate": 'Basic realm="study", charset="UTF-8"'}
                )
            return await handler(request)

        return behind

    async def results(self, request: Request) -> Response:
        """Progress, and the usual tables and curves of what is finished."""
        sections, figures = await anyio.to_thread.run_sync(self._sections)
        self._figures = figures
        progress = progress_table(self._study, self._store, assigned(self._store, self._study))
        queue = len(self._store.queue())
        return self._pages.page(request, "results", conditions=progress, sections=sections, queue=queue, wide=True)

    def _sections(self) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
        sections, figures = [], {}
        with _DRAWING:
            for section in report_of(self._study, self._store).sections:
                names = []
                for figure in section.figures:
                    names.append(secrets.token_hex(8))
                    figures[names[-1]] = png(figure)
                tables = [table.map(str) for table in section.tables]
                sections.append({"title": section.title, "text": section.text, "tables": tables, "figures": names})
        return sections, figures

    async def figure(self, request: Request) -> Response:
        """A figure of the page that was shown last."""
        figure = self._figures.get(request.path_params["name"])
        return Response(figure, media_type="image/png") if figure else Response(status_code=404)

    async def table(self, request: Request) -> Response:
        """A table of what the study has left so far, as a file."""
        name, _, kind = request.path_params["name"].partition(".")
        tables = await anyio.to_thread.run_sync(tables_of, self._study, self._store)
        if name not in tables or kind not in ("csv", "parquet"):
            return await self._pages.missing(request)
        if kind == "csv":
            content, media = tables[name].to_csv(index=False).encode(), "text/csv; charset=utf-8"
        else:
            content, media = tables[name].to_parquet(), "application/vnd.apache.parquet"
        headers = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
        return Response(content, media_type=media, headers=headers)

    async def explore(self, request: Request) -> Response:
        """Choose what to try by hand."""
        return self._explore(request)

    def _explore(self, request: Request, error: str = "", status: int = 200, **chosen: Any) -> Response:
        names = {"mechanisms": list(MECHANISMS), "csrf": self._pages.csrf("explore")}
        usual = {"mechanism": "mixture", "policy": "", "scale": "0.8", "goal": "0", "hidden": ""}
        return self._pages.page(request, "explore", status, error=error, given={**usual, **chosen}, **names)

    async def begin(self, request: Request) -> Response:
        """Begin a session by hand, which counts nowhere."""
        form = await self._pages.form(request, "explore")
        if form is None:
            return self._pages.page(request, "problem", 403, text="This page is too old. Please reload it.")
        try:
            plan = self._plan(form)
        except (ValueError, OSError) as error:
            return self._explore(request, str(error), 422, **form)
        return RedirectResponse(f"/s/{self._store.begin_by_hand(plan)}", 303)

    def _plan(self, form: dict[str, str]) -> dict[str, Any]:
        policy, scale = form.get("policy", "").strip(), None
        resolve(MECHANISMS, form.get("mechanism", ""))
        if not policy:
            scale = float(form.get("scale", ""))
            if not 0 <= scale <= 1:
                raise ValueError(f"the mixture scale must be from 0 to 1, got {scale}")
        goal = int(form.get("goal", ""))
        if not 0 <= goal < self._options.goals:
            raise ValueError(f"the goal must be from 0 to {self._options.goals - 1}, got {goal}")
        spec = {"name": "images", "policy": policy or f"constant:{scale}", "mechanism": form["mechanism"]}
        check_policy(self._study.condition(spec))
        by_hand = {"spec": spec, "scale": scale, "hidden": form.get("hidden") == "yes"}
        return {"cells": [[0, goal]], "attention": [-1], "explore": by_hand}


def _matches(header: str, password: str) -> bool:
    kind, _, credentials = header.partition(" ")
    try:
        user, _, word = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return False
    right = hmac.compare_digest(word.encode(), password.encode())
    return kind.lower() == "basic" and user == USER and right
