"""A language model behind an endpoint that speaks OpenAI's protocol, as most servers do."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

from steer_env.humans.options import EndpointOptions
from steer_env.humans.writers import Request, WriterError

_AT_A_TIME = 8


class Endpoint:
    """Asks for chat completions. Every answer is kept on disk, so that the same question costs nothing again.

    Args:
        model, **options: see :class:`steer_env.humans.options.EndpointOptions`.

    Raises:
        WriterError: the package or the key isn't there.
        ValueError: a number out of range.
    """

    def __init__(self, model: str, **options: Any) -> None:
        chosen = EndpointOptions(model, **options)
        if (
            min(chosen.temperature, chosen.retries, chosen.per_minute) < 0
            or chosen.timeout <= 0
            or chosen.max_tokens < 1
        ):
            raise ValueError(
                "temperature, retries and per_minute must be at least 0, timeout positive and max_tokens at least 1"
            )
        key = os.environ.get(chosen.key_variable, "")
        if not key and not chosen.base_url:
            raise WriterError(f"the environment variable {chosen.key_variable} holds no key, and base_url isn't given")
        self.id, self._server, self._cache = model, chosen.base_url, chosen.cache
        self._settings = {"model": model, "temperature": chosen.temperature, "max_tokens": chosen.max_tokens}
        server = {"api_key": key or "none", "base_url": chosen.base_url or None}
        self._client_options = {**server, "timeout": chosen.timeout, "max_retries": chosen.retries}
        self._pause = 60 / chosen.per_minute if chosen.per_minute else 0.0
        self._next, self._turn = 0.0, Lock()
        self._client: Any = _client(self._client_options)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_client", "_turn")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._turn, self._client = Lock(), _client(self._client_options)

    def write(self, requests: Sequence[Request]) -> list[str]:
        """As for :class:`steer_env.humans.writers.Writer`; answers before or beside an error are kept, too."""
        keys = [self._key(request) for request in requests]
        known = self._read(keys)
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        failed: list[Exception] = []
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            keys_of = {pool.submit(self._ask, request): key for key, request in missing.items()}
            for answer in as_completed(keys_of):
                # Requests under way when one fails are answered, and paid for, all the same.
                if answer.cancelled():
                    continue
                try:
                    known[keys_of[answer]] = answer.result()
                    self._keep(keys_of[answer], known[keys_of[answer]])
                except WriterError as error:
                    failed.append(error)
                    for waiting in keys_of:
                        waiting.cancel()
        if failed:
            raise failed[0]
        return [known[key] for key in keys]

    def _ask(self, request: Request) -> str:
        import openai

        self._wait()
        where = self._server or "OpenAI's server"
        try:
            answer = self._client.chat.completions.create(
                messages=request.messages, seed=request.seed, **self._settings
            )
            content = answer.choices[0].message.content
        except openai.APITimeoutError as error:
            raise WriterError(f"{where} didn't answer in time: timeout is {self._client.timeout} s") from error
        except openai.APIConnectionError as error:
            raise WriterError(f"{where} can't be reached ({error}): does it run, is base_url right?") from error
        except openai.APIStatusError as error:
            raise WriterError(f"{where} refused, with status {error.status_code}: {error.message[:300]}") from error
        except Exception as error:
            raise WriterError(f"{where} answered no chat completion: {error!r}"[:400]) from error
        if not isinstance(content, str):
            raise WriterError(f"{where} answered no text, but {content!r}"[:400])
        return content

    def _wait(self) -> None:
        """Keep to the rate."""
        with self._turn:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._pause
        time.sleep(start - now)

    def _key(self, request: Request) -> str:
        question = [self._server, self._settings, request.instructions, request.question, request.seed]
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


def _client(options: dict[str, Any]) -> Any:
    try:
        from openai import OpenAI
    except ImportError as error:
        raise WriterError(
            "writer=endpoint needs a package that isn't here: pip install 'steer-env[endpoint]'"
        ) from error
    return OpenAI(**options)
