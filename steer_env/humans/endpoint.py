"""A language model behind an endpoint that speaks OpenAI's protocol, as most servers do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from steer_env.humans.options import EndpointOptions
from steer_env.humans.writers import Request, WriterError
from steer_env.redaction import redacted

LARGEST = 1 << 20
"""Bytes of an answer; a prompt needs a few thousand."""
_AT_A_TIME = 8
_FOR_NOW = (408, 409, 429)
"""Statuses of a refusal for the time being."""


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
        self._client_options = {**server, "timeout": chosen.timeout}
        self._timeout, self._retries = chosen.timeout, chosen.retries
        self._pause = 60 / chosen.per_minute if chosen.per_minute else 0.0
        self._next, self._turn = 0.0, Lock()
        _client(self._client_options)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._turn = Lock()

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
        where = redacted(self._server) or "OpenAI's server"
        for left in range(self._retries, -1, -1):
            self._wait()
            try:
                content = asyncio.run(self._in_time(request))
            except _Refused as refused:
                if not (left and refused.again):
                    raise WriterError(redacted(f"{where} {refused}")) from refused
                pause = refused.pause if 0 < refused.pause <= self._timeout else 0.5 * 2 ** (self._retries - left)
                time.sleep(min(pause, self._timeout))
            except (TimeoutError, asyncio.TimeoutError) as error:
                if not left:
                    raise WriterError(f"{where} didn't answer in time: timeout is {self._timeout} s") from error
            else:
                break
        if not isinstance(content, str):
            raise WriterError(f"{where} answered no text, but {content!r}"[:400])
        # A lone surrogate is JSON, but no text that a file can hold.
        return content.encode("utf-8", "replace").decode()

    async def _in_time(self, request: Request) -> Any:
        """The content of an answer, whose time is bounded as a whole: the client itself bounds each gap in it."""
        async with _client(self._client_options) as client:
            return await asyncio.wait_for(self._answer(client, request), self._timeout)

    async def _answer(self, client: Any, request: Request) -> Any:
        import openai

        try:
            answer = await client.chat.completions.create(
                messages=request.messages, seed=request.seed, **self._settings
            )
            return answer.choices[0].message.content
        except openai.APITimeoutError as error:
            raise TimeoutError from error
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, _Refused):
                raise error.__cause__ from None
            raise _Refused(f"can't be reached ({error}): does it run, is base_url right?", again=True) from error
        except openai.APIStatusError as error:
            again = error.status_code in _FOR_NOW or error.status_code >= 500
            told = f"refused, with status {error.status_code}: {error.message[:300]}"
            raise _Refused(told, again, _seconds(error.response.headers.get("retry-after", ""))) from error
        except _Refused:
            raise
        except Exception as error:
            raise _Refused(f"answered no chat completion: {error!r}"[:300]) from error

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


class _Refused(Exception):
    """Why there is no answer, whether there may be one later, and after how many seconds the server says so."""

    def __init__(self, reason: str, again: bool = False, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.pause = again, pause


def _seconds(text: str) -> float:
    """Of a header ``Retry-After``; 0 where it isn't a number of seconds."""
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _client(options: dict[str, Any]) -> Any:
    try:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ImportError as error:
        raise WriterError(
            "writer=endpoint needs a package that isn't here: pip install 'steer-env[endpoint]'"
        ) from error
    # Not compressed: a few bytes of an archive may be gigabytes.
    http = DefaultAsyncHttpxClient(
        event_hooks={"response": [_bounded]}, headers={"Accept-Encoding": "identity"}, timeout=options["timeout"]
    )
    return AsyncOpenAI(**options, max_retries=0, http_client=http)


async def _bounded(response: Any) -> None:
    """Let no answer be larger than :data:`LARGEST`, whether it is a completion or an error."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _Refused("answered something compressed, which wasn't asked for")
    stream = response.stream
    kind: Any = import_module(type(response).__module__.partition(".")[0]).AsyncByteStream

    class Bounded(kind):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in stream:
                size += len(chunk)
                if size > LARGEST:
                    raise _Refused(f"answered more than {LARGEST} bytes")
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    response.stream = Bounded()
