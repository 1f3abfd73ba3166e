"""Asking servers that answer in JSON: whole answers in bounded time and size, at a rate, without giving a key away."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from steer_env.compatibility import reason
from steer_env.files import printable
from steer_env.limits import Limited, option
from steer_env.redaction import STRUCK, guard, redacted

_UNREACHED, _LATE = 0, 1
"""In place of a status, where there is no answer."""
_AGAIN = (_UNREACHED, _LATE, 408, 409, 425, 429)
"""What may be otherwise later, beside errors of the server, from 500 on."""
_LONGEST_PAUSE = 30.0
_OPENAI = "https://api.openai.com/v1"


class ServerError(RuntimeError):
    """A server that can't be reached, refuses, or answers something else; the message says what to do, in one line."""


@dataclass(kw_only=True)
class ServerOptions(Limited):
    """A server that answers JSON to JSON.

    Args:
        base_url: of the server, such as ``http://localhost:8000/v1``; empty for OpenAI's own.
        key_variable: environment variable that holds the key; a local server may need none.
        timeout: seconds until an answer must be there as a whole.
        retries: after a timeout, a lost connection, a refusal for the time being or an error of the server, with
            growing pauses, or those that the server asks for, of 30 s at most.
        per_minute: most requests; 0 for no limit.
    """

    base_url: str = ""
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = option(60.0, least=0.01, most=86400)
    retries: int = option(5, least=0, most=1000)
    per_minute: float = option(0.0, least=0, most=1_000_000)


class Server:
    """Asks a server.

    Args:
        options: which one, and how.
        most_bytes: of an answer.

    Raises:
        ValueError: an address that holds a password or a query, or isn't one.
        ServerError: no key for OpenAI's server.
    """

    def __init__(self, options: ServerOptions, most_bytes: int = 1_000_000) -> None:
        self.options, self._most_bytes, self._next = options, most_bytes, 0.0
        self.address = (options.base_url or _OPENAI).rstrip("/")
        parts = _parts(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"base_url must begin with http:// or https:// and name a server, got {options.base_url!r}"
            )
        if parts.username or parts.password or parts.query:
            raise ValueError("base_url holds a password or query, which would be written down: use key_variable")
        if parts.fragment or not self._key.isascii() or not (self._key + self.address).isprintable():
            wrong = (
                "base_url may have no part after #" if parts.fragment else "no header can hold the key or the address"
            )
            raise ValueError(f"{wrong}: look at base_url and at the environment variable {options.key_variable}")
        if not self._key and not options.base_url:
            raise ServerError(f"the environment variable {options.key_variable} holds no key, and base_url isn't given")
        self._turn = threading.Lock()
        guard(options.key_variable)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._turn = threading.Lock()
        guard(self.options.key_variable)

    @property
    def _key(self) -> str:
        # Read when it is needed: an attribute would be pickled, printed and logged.
        return os.environ.get(self.options.key_variable, "")

    def ask(self, path: str, question: Mapping[str, Any]) -> Any:
        """The server's answer.

        Args:
            path: below the address, such as ``images/generations``.
            question: what is sent.

        Raises:
            ServerError: in one line, after the retries.
        """
        for attempt in range(self.options.retries + 1):
            self._wait()
            status, body, pause = self._once(path, question)
            if status == 200:
                return self._parsed(body)
            if attempt == self.options.retries or not (status in _AGAIN or status >= 500):
                break
            time.sleep(min(pause if pause is not None else 0.5 * 2**attempt, _LONGEST_PAUSE))
        if status == _LATE:
            raise ServerError(f"{self.address} didn't answer in time: timeout is {self.options.timeout:g} s")
        if status == _UNREACHED:
            raise ServerError(f"{self.address} can't be reached ({self._said(body)}): does it run, is base_url right?")
        raise ServerError(f"{self.address} refused, with status {status}: {self._said(body)}")

    def _once(self, path: str, question: Mapping[str, Any]) -> tuple[int, bytes, float | None]:
        """Status, what was answered, or why nothing, and the pause that the server asks for."""
        import httpx

        try:
            # The client's own timeout bounds the gaps of an answer; this bounds the whole of it.
            return asyncio.run(asyncio.wait_for(self._answer(path, question), self.options.timeout))
        except ServerError:
            raise
        except (asyncio.TimeoutError, httpx.TimeoutException):
            return _LATE, b"", None
        except Exception as error:
            return _UNREACHED, reason(error).encode(), None

    async def _answer(self, path: str, question: Mapping[str, Any]) -> tuple[int, bytes, float | None]:
        import httpx

        # Not compressed: a few bytes of an archive may be gigabytes.
        headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        async with (
            httpx.AsyncClient(timeout=self.options.timeout) as client,
            client.stream("POST", f"{self.address}/{path}", json=dict(question), headers=headers) as answer,
        ):
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > self._most_bytes:
                    raise ServerError(f"{self.address} answers more than {self._most_bytes:,} bytes: not read on")
            return answer.status_code, bytes(body), _seconds(answer.headers.get("Retry-After"))

    def _parsed(self, body: bytes) -> Any:
        key = self._key.encode()
        try:
            # An answer is kept: a server that repeats the key there would put it into files.
            return json.loads(body.replace(key, STRUCK.encode()) if key else body)
        except (ValueError, RecursionError) as error:
            raise ServerError(f"{self.address} answered no JSON, but {self._said(body)!r}") from error

    def _said(self, body: bytes) -> str:
        """A server's words for a message: short, printable, and without the key."""
        text = body.decode(errors="replace")
        with suppress(ValueError, TypeError, LookupError, RecursionError):
            text = str(json.loads(text)["error"]["message"])
        return printable(redacted(" ".join(text.split())))[:300]

    def _wait(self) -> None:
        """Keep to the rate."""
        with self._turn:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + (60 / self.options.per_minute if self.options.per_minute else 0.0)
        time.sleep(start - now)


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        # It raises where there is none from 0 to 65535.
        _ = parts.port
    except ValueError:
        raise ValueError(f"base_url must be an address such as http://localhost:8000/v1, got {address!r:.60}") from None
    return parts


def _seconds(value: str | None) -> float | None:
    """Of a ``Retry-After`` header; None where it has none, or a date."""
    try:
        return max(0.0, float(value or ""))
    except ValueError:
        return None
