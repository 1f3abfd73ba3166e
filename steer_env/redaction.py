"""Secrets never reach a file, a log or the screen: the one place that strikes them out."""

from __future__ import annotations

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


def redacted(text: str, *variables: str) -> str:
    """The text without secrets: values of variables that hold some, these among them, and what looks like one.

    >>> redacted("http://me:pass1@host/v1?key=abc")
    'http://[secret]@host/v1?key=[secret]'
    """
    named = {name: value for name, value in os.environ.items() if name in variables or _NAMES.search(name)}
    held = {value for value in named.values() if len(value) >= _SHORTEST}
    for value in sorted(held, key=len, reverse=True):
        text = text.replace(value, STRUCK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def without_secrets(value: Any) -> Any:
    """The same of all text in mappings and lists."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value
