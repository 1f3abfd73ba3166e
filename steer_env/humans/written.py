"""Simulated users whose prompts a language model writes, on any domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from steer_env.humans.prompts import CHARACTERS, attempt_seed, prompt_in
from steer_env.humans.writers import Request, Writer, WriterError
from steer_env.registry import Registry
from steer_env.types import Prompter, Task

_KNOWN = frozenset(CHARACTERS)
_BLIND = (
    "You are given a prompt for a text-to-image model. Write it again in other words, for the same image, leaving "
    "nothing out and adding nothing. Answer with the new prompt alone."
)
_FEEDBACK = (
    "Somebody wants a text-to-image model to make a certain image, which you can't see. You are given the prompts that "
    "were tried, and how similar each resulting image was to it, where 1 is the same. Write a prompt that is likely to "
    "come closer. Answer with the new prompt alone."
)


class WrittenPrompter:
    """Asks a language model for each next prompt, with the episode's own seed; a subclass writes the question.

    Of an answer, quotation marks around it, line breaks, characters that environments don't take, and all beyond 1,000
    characters are dropped.
    """

    training_seed = -1
    kind: str
    instructions: str

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.name = f"text {self.kind} by {writer.id}"

    def start(self, tasks: Sequence[Task], episode_seeds: Sequence[int]) -> None:
        self._seeds = list(episode_seeds)

    def write(self, prompts: Sequence[Sequence[str]], similarities: np.ndarray) -> list[str]:
        """As for :class:`steer_env.types.Prompter`; a WriterError without an answer that holds a prompt."""
        requests = [
            Request(self.instructions, self.question(row, seen), attempt_seed(seed, len(row)))
            for row, seen, seed in zip(prompts, similarities, self._seeds, strict=True)
        ]
        answers = self._writer.write(requests)
        return [self._prompt(answer, request) for answer, request in zip(answers, requests, strict=True)]

    def question(self, prompts: Sequence[str], similarities: np.ndarray) -> str:
        """The question about one episode with prompts (t,) and their images' similarities, float (t,)."""
        raise NotImplementedError

    def _prompt(self, answer: str, request: Request) -> str:
        prompt = prompt_in("".join(character for character in " ".join(answer.split()) if character in _KNOWN))
        if not prompt:
            raise WriterError(f"{self._writer.id} answered {answer[:200]!r}, no prompt, to: {request.question[:200]}")
        return prompt


class WrittenBlindPrompter(WrittenPrompter):
    """Never sees the goal or an image: the first prompt in other words (paper, C.1)."""

    kind, instructions = "blind", _BLIND

    def question(self, prompts: Sequence[str], similarities: np.ndarray) -> str:
        return prompts[0]


class WrittenFeedbackPrompter(WrittenPrompter):
    """Sees how similar the images of all prompts were, not the goal."""

    kind, instructions = "feedback", _FEEDBACK

    def question(self, prompts: Sequence[str], similarities: np.ndarray) -> str:
        tried = zip(prompts, similarities, strict=True)
        return "\n".join(f"{similarity:.3f}: {prompt}" for prompt, similarity in tried)


WRITTEN: Registry[Callable[[Writer], Prompter]] = Registry(
    "prompter", {"blind": WrittenBlindPrompter, "feedback": WrittenFeedbackPrompter}
)
"""Whose prompts a language model can write."""
