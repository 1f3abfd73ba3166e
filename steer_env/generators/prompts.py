"""Prompts, each encoded once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from steer_env.compatibility import quiet

_LOG = logging.getLogger(__name__)
_KEPT = 65_536


class EncodedPrompts:
    """Remembers what prompts were encoded to.

    Args:
        tokenizer: whose limit a prompt is warned of that is longer, with the number of tokens cut.
        embed: encodes n prompts: tensors with n rows by name.
    """

    def __init__(self, tokenizer: Any, embed: Callable[[list[str]], dict[str, Tensor]]) -> None:
        self._tokenizer, self._embed = tokenizer, embed
        self._known: dict[str, dict[str, Tensor]] = {}

    def __call__(self, prompts: Sequence[str], at_a_time: int) -> list[dict[str, Tensor]]:
        """Of each prompt, its row of each tensor; new ones are encoded so many at a time."""
        distinct = list(dict.fromkeys(prompts))
        new = [prompt for prompt in distinct if prompt not in self._known]
        if len(self._known) + len(new) > _KEPT:
            self._known.clear()
            new = distinct
        for start in range(0, len(new), at_a_time):
            part = new[start : start + at_a_time]
            # Both libraries would print whole prompts that are too long, one of them cut.
            with quiet():
                self._warn_of_long(part)
                embedded = self._embed(part)
            for i, prompt in enumerate(part):
                self._known[prompt] = {name: values[i] for name, values in embedded.items()}
        return [self._known[prompt] for prompt in prompts]

    def clear(self) -> None:
        """Forget them, as their tensors are on a device that is no longer used."""
        self._known.clear()

    def _warn_of_long(self, prompts: list[str]) -> None:
        limit = self._tokenizer.model_max_length
        cut = {p: len(t) - limit for p, t in zip(prompts, self._tokenizer(prompts).input_ids, strict=True)}
        longest = max(cut, key=cut.__getitem__)
        if cut[longest] > 0:
            others = sum(tokens > 0 for tokens in cut.values()) - 1
            more = f", and of {others} more prompts" if others else ""
            _LOG.warning(
                "the text encoder reads %d tokens: %d of %r are cut%s", limit, cut[longest], longest[:60], more
            )
