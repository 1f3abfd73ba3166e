"""Language models that write prompts, by name, and the simulated users whose prompts they write, on any domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from steer_env.humans.options import EndpointOptions, LocalOptions
from steer_env.humans.prompts import CHARACTERS, attempt_seed, prompt_in
from steer_env.registry import Part, Parts, Registry, Spec, build
from steer_env.types import Task

_KNOWN = frozenset(CHARACTERS)


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
        """One answer a request, unchanged; a WriterError or ServerError if there is none."""


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
        ServerError: no key for OpenAI's server.
        WriterError: the weights that it needs aren't there.
    """
    return build(WRITERS, spec, options) if isinstance(spec, str | Mapping) else spec


_BLIND = (
    "You are given a prompt for a text-to-image model. Write it again in other words, for the same image, leaving "
    "nothing out and adding nothing. Answer with the new prompt alone."
)
_FEEDBACK = (
    "Somebody wants a text-to-image model to make a certain image, which you can't see. You are given the prompts that "
    "were tried, and how similar each resulting image was to it, where 1 is the same. Write a prompt that is likely to "
    "come closer. Answer with the new prompt alone."
)
INSTRUCTIONS = Registry("prompter", {"blind": _BLIND, "feedback": _FEEDBACK})
"""For each kind of user whose prompts a language model can write."""


class WrittenPrompter:
    """A simulated user whose prompts a language model writes, with the episode's own seed.

    A blind one, who never sees the goal or an image, has the first prompt in other words (paper, C.1); one with
    feedback sees how similar the images of all prompts were. An answer loses quotation marks around it, line breaks,
    characters that environments don't take, and all beyond 1,000 characters.
    """

    training_seed = -1

    def __init__(self, kind: str, writer: Writer) -> None:
        self._instructions, self._sees, self._writer = INSTRUCTIONS[kind], kind == "feedback", writer
        self.name = f"text {kind} by {writer.id}"

    def start(self, tasks: Sequence[Task], episode_seeds: Sequence[int]) -> None:
        self._seeds = list(episode_seeds)

    def write(self, prompts: Sequence[Sequence[str]], similarities: np.ndarray) -> list[str]:
        """As for :class:`steer_env.types.Prompter`; a WriterError without an answer that holds a prompt."""
        requests = []
        for tried, seen, seed in zip(prompts, similarities, self._seeds, strict=True):
            rated = "\n".join(f"{similarity:.3f}: {prompt}" for prompt, similarity in zip(tried, seen, strict=True))
            question = rated if self._sees else tried[0]
            requests.append(Request(self._instructions, question, attempt_seed(seed, len(tried))))
        answers = self._writer.write(requests)
        return [self._prompt(answer, request) for answer, request in zip(answers, requests, strict=True)]

    def _prompt(self, answer: str, request: Request) -> str:
        prompt = prompt_in("".join(character for character in " ".join(answer.split()) if character in _KNOWN))
        if not prompt:
            raise WriterError(f"{self._writer.id} answered {answer[:200]!r}, no prompt, to: {request.question[:200]}")
        return prompt
