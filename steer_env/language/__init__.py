"""Language models that write prompts, by name, and the simulated users who have them write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from steer_env.registry import Registry


class WriterError(RuntimeError):
    """A language model that can't be had, or that answers nothing usable; with what to do."""


@dataclass(frozen=True)
class Request:
    """What a language model is asked.

    Args:
        instructions: what it is to do; its system message where it has one; empty for none.
        question: what to do it with.
        seed: of its draws.
        cue: what a model that takes no conversation is left to complete.
    """

    instructions: str
    question: str
    seed: int
    cue: str = "New prompt:"

    @property
    def messages(self) -> list[dict[str, str]]:
        """As those are asked who take a conversation."""
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        return [*system, {"role": "user", "content": self.question}]


class Writer(Protocol):
    """A language model. ``id`` is what traces call it."""

    id: str

    def write(self, requests: Sequence[Request]) -> list[str]:
        """One answer a request, as it came.

        Raises:
            WriterError: no answer.
        """


def _endpoint(**options: Any) -> Writer:
    from steer_env.language.endpoint import Endpoint

    return Endpoint(**options)


def _local(**options: Any) -> Writer:
    from steer_env.language.local import LocalModel

    return LocalModel(**options)


WRITERS: Registry[Callable[..., Writer]] = Registry("writer", {"endpoint": _endpoint, "local": _local})


def load_writer(name: str, **options: Any) -> Writer:
    """The language model of that kind; see the class it makes for its options.

    Raises:
        ValueError: an unknown name or option value.
        WriterError: the package, the key or the weights that it needs aren't there.
    """
    return WRITERS[name](**options)
