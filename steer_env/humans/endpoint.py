"""A language model behind an endpoint that speaks OpenAI's protocol, as most servers do."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
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
        chosen = EndpointOptions(model=model, **options)
        self.id, self._server, self._cache = model, Server(chosen), chosen.cache
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
        question = [self._server.options.base_url, self._settings, request.instructions, request.question, request.seed]
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Raises a ValueError for a file that is damaged, or something else."""
        place = Path(self._cache).expanduser()
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(place, timeout=60)) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
                yield connection
        except sqlite3.Error as error:
            raise ValueError(f"cache={self._cache} can't be used: {error}; move it away") from error

    def _read(self, keys: Sequence[str]) -> dict[str, str]:
        if not self._cache:
            return {}
        with self._open() as connection:
            query = "SELECT key, answer FROM answers WHERE key = ? AND typeof(answer) = 'text'"
            return dict(row for key in keys for row in connection.execute(query, (key,)))

    def _keep(self, key: str, answer: str) -> None:
        if self._cache:
            with self._open() as connection:
                connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, answer))
