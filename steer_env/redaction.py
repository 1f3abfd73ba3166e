"""Secrets never reach a file, a log or the screen: the one place that strikes them out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

STRUCK = "[secret]"
_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
"""How names of environment variables end that hold secrets."""
_SHORTEST = 6
"""Characters of a value that is a secret; a shorter one may stand for anything."""
_PATTERNS = (
    (re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)"), STRUCK),
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]{6,}"), rf"\1 {STRUCK}"),
    (re.compile(r"\bsk-[\w-]{8,}|\bhf_\w{8,}|\bgh[pousr]_\w{8,}"), STRUCK),
    (re.compile(r"(?i)([?&](?:api[_-]?key|key|token|access_token|password|secret)=)[^&\s\"']+"), rf"\1{STRUCK}"),
)
"""Passwords in addresses, keys in headers, keys as large services make them, and keys in queries."""


_GUARDED: set[str] = set()


def guard(variable: str) -> None:
    """From now on the value of that variable of the environment is a secret, too, however it is called."""
    _GUARDED.add(variable)


def redacted(text: str) -> str:
    """The text without secrets: values of variables that hold some, as they are and as in JSON, and what looks so.

    >>> redacted("http://me:pass1@host/v1?key=abc")
    'http://[secret]@host/v1?key=[secret]'
    """
    named = {name: value for name, value in os.environ.items() if name in _GUARDED or _NAMES.search(name)}
    values = {value for value in named.values() if len(value) >= _SHORTEST}
    held = {form for value in values for form in (value, json.dumps(value)[1:-1], repr(value)[1:-1])}
    for value in sorted(held, key=len, reverse=True):
        text = text.replace(value, STRUCK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def without_secrets(value: Any) -> Any:
    """The same of all text in mappings and lists; and of whatever text has a secret's name there."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        hidden = {key for key, inner in value.items() if isinstance(inner, str) and inner and _NAMES.search(str(key))}
        return {key: STRUCK if key in hidden else without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value
