"""A language model behind an endpoint that speaks OpenAI's protocol, as most servers do."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import Any

from steer_env.humans.options import EndpointOptions
from steer_env.humans.writers import Request
from steer_env.servers import Server, ServerError

_AT_A_TIME = 8


class Endpoint:
    """Asks for chat completions. Every answer is kept on disk, so that the same question costs nothing again.

    Args:
        model, **options: see :class:`steer_env.humans.options.EndpointOptions`.

    Raises:
        ValueError: an option out of range.
        ServerError: no key for OpenAI's own server.
    """

    def __init__(self, model: str, **options: Any) -> None:
        chosen = EndpointOptions(model, **options)
        self.id, self._server, self._cache = model, Server.of(chosen), chosen.cache
        self._settings = {"model": model, "temperature": chosen.temperature, "max_tokens": chosen.max_tokens}

    def write(self, requests: Sequence[Request]) -> list[str]:
        """As for :class:`steer_env.humans.writers.Writer`; answers before or beside an error are kept, too."""
        keys = [self._key(request) for request in requests]
        known = self._read(keys)
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        failed: list[ServerError] = []
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            keys_of = {pool.submit(self._ask, request): key for key, request in missing.items()}
            for answer in as_completed(keys_of):
                # Requests under way when one fails are answered, and paid for, all the same.
                if answer.cancelled():
                    continue
                try:
                    known[keys_of[answer]] = answer.result()
                    self._keep(keys_of[answer], known[keys_of[answer]])
                except ServerError as error:
                    failed.append(error)
                    for waiting in keys_of:
                        waiting.cancel()
        if failed:
            raise failed[0]
        return [known[key] for key in keys]

    def _ask(self, request: Request) -> str:
        question = {**self._settings, "messages": request.messages, "seed": request.seed}
        answer = self._server.ask("chat/completions", question)
        try:
            # A lone surrogate is JSON, but no text that a file can hold.
            return answer["choices"][0]["message"]["content"].encode("utf-8", "replace").decode()
        except (LookupError, TypeError, AttributeError) as error:
            raise ServerError(f"{self._server.address} answered no chat completion that holds a text") from error

    def _key(self, request: Request) -> str:
        question = [self._server.base_url, self._settings, request.instructions, request.question, request.seed]
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()

    def _open(self) -> sqlite3.Connection:
        Path(self._cache).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._cache, timeout=60)
        connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        return connection

    def _read(self, keys: Sequence[str]) -> dict[str, str]:
        if not self._cache:
            return {}
        with closing(self._open()) as connection:
            rows = [connection.execute("SELECT key, answer FROM answers WHERE key = ?", (key,)) for key in keys]
            return dict(row for matching in rows for row in matching)

    def _keep(self, key: str, answer: str) -> None:
        if self._cache:
            with closing(self._open()) as connection, connection:
                connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, answer))
