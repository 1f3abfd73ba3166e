"""Simulated users who have a language model write their prompts, on any domain."""

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
    """Asks a language model for each next prompt, with a seed of the episode's own.

    A subclass says what is asked. Quotation marks around an answer, line breaks, and characters that environments
    don't take are left out, and so is what goes beyond 1,000 characters.
    """

    training_seed = -1
    kind: str
    instructions: str

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.name = f"text {self.kind} by {writer.id}"

    def start(self, tasks: Sequence[Task], episode_seeds: Sequence[int]) -> None:
        """See :class:`steer_env.types.Prompter`."""
        self._seeds = list(episode_seeds)

    def write(self, prompts: Sequence[Sequence[str]], similarities: np.ndarray) -> list[str]:
        """See :class:`steer_env.types.Prompter`.

        Raises:
            WriterError: no answer, or one without a prompt in it.
        """
        requests = [
            Request(self.instructions, self.question(row, seen), attempt_seed(seed, len(row)))
            for row, seen, seed in zip(prompts, similarities, self._seeds, strict=True)
        ]
        answers = self._writer.write(requests)
        return [self._prompt(answer, request) for answer, request in zip(answers, requests, strict=True)]

    def question(self, prompts: Sequence[str], similarities: np.ndarray) -> str:
        """What is asked of one episode, from its prompts so far, (t,), and what they gave, float (t,)."""
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
        """The first prompt."""
        return prompts[0]


class WrittenFeedbackPrompter(WrittenPrompter):
    """Sees how similar the images of all prompts were, not the goal."""

    kind, instructions = "feedback", _FEEDBACK

    def question(self, prompts: Sequence[str], similarities: np.ndarray) -> str:
        """Every prompt so far with its similarity."""
        tried = zip(prompts, similarities, strict=True)
        return "\n".join(f"{similarity:.3f}: {prompt}" for prompt, similarity in tried)


WRITTEN: Registry[Callable[[Writer], Prompter]] = Registry(
    "prompter", {"blind": WrittenBlindPrompter, "feedback": WrittenFeedbackPrompter}
)
"""Whose prompts a language model can write."""
