"""Prompts as tensors, for models that encode them themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LONGEST = 4096
"""Bytes of a prompt in UTF-8."""


def encoded(prompts: Sequence[str]) -> Tensor:
    """Prompts (B) → uint8 (B, 4096), in UTF-8 and filled up with zeros.

    Raises:
        ValueError: a longer prompt, or one with a zero in it.
    """
    rows = torch.zeros(len(prompts), _LONGEST, dtype=torch.uint8)
    for row, prompt in zip(rows, prompts, strict=True):
        text = prompt.encode()
        if len(text) > _LONGEST or b"\0" in text:
            raise ValueError(f"a prompt has at most {_LONGEST} bytes, none of them zero, got {prompt[:60]!r}…")
        row[: len(text)] = torch.tensor(list(text), dtype=torch.uint8)
    return rows


def decoded(rows: Tensor) -> list[str]:
    """The prompts of :func:`encoded`."""
    return [bytes(row.tolist()).rstrip(b"\0").decode() for row in rows.cpu()]
