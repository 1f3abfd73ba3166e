"""Language models that write prompts, by name, and the simulated users who have them write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from steer_env.humans.options import EndpointOptions, LocalOptions
from steer_env.registry import Part, Parts, Registry, Spec, build


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


WRITERS: Parts = Registry(
    "writer",
    {
        "endpoint": Part(EndpointOptions, "steer_env.humans.endpoint:Endpoint"),
        "local": Part(LocalOptions, "steer_env.humans.local:LocalModel"),
    },
)


def load_writer(spec: Spec[Writer], **options: Any) -> Writer:
    """The language model that a spec names, such as ``local:path=FOLDER``; one itself is returned as it is.

    Raises:
        ValueError: an unknown name or option, or a value that an option can't have.
        WriterError: the package, the key or the weights that it needs aren't there.
    """
    return build(WRITERS, spec, options) if isinstance(spec, str | Mapping) else spec
