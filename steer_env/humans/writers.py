"""Language models that write prompts, by name."""

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
    """A question to a language model.

    Args:
        instructions: the task, as a system message where the model takes one; empty for none.
        question: the task's material.
        seed: of the model's draws.
        cue: beginning of the answer, for a model without a chat template to complete.
    """

    instructions: str
    question: str
    seed: int
    cue: str = "New prompt:"

    @property
    def messages(self) -> list[dict[str, str]]:
        """As a conversation."""
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        return [*system, {"role": "user", "content": self.question}]


class Writer(Protocol):
    """A language model. ``id`` is what traces call it."""

    id: str

    def write(self, requests: Sequence[Request]) -> list[str]:
        """One answer a request, unchanged; a WriterError if there is none."""


WRITERS: Parts = Registry(
    "writer",
    {
        "endpoint": Part(EndpointOptions, "steer_env.humans.endpoint:Endpoint"),
        "local": Part(LocalOptions, "steer_env.humans.local:LocalModel"),
    },
)


def load_writer(spec: Spec[Writer], **options: Any) -> Writer:
    """The language model of a spec such as ``local:path=FOLDER``; a model itself is returned unchanged.

    Raises:
        ValueError: an unknown name or option, or a value that an option can't have.
        WriterError: the package, the key or the weights that it needs aren't there.
    """
    return build(WRITERS, spec, options) if isinstance(spec, str | Mapping) else spec
