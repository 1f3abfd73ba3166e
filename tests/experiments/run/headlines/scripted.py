"""A scripted language model and a similarity that can be worked out by hand."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from experiments.run.headlines.tasks import HeadlineTask
from steer_env.humans.writers import Request

COLOURS = ("red", "green", "blue")


class Scripted:
    """Answers by a function of the request, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Request], str], name: str = "script") -> None:
        self.id, self._answer = name, answer
        self.asked: list[Request] = []

    def write(self, requests: Sequence[Request]) -> list[str]:
        self.asked += requests
        return [self._answer(request) for request in requests]


class Colours:
    """Counts three colours: the cosine of two texts is that of the counts."""

    id = "colours"

    def embed(self, texts: Sequence[str]) -> Tensor:
        counts = [[text.lower().split().count(colour) for colour in COLOURS] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(counts, dtype=torch.float32), dim=1)


def instructions_of(request: Request) -> str:
    """The instructions in a prompt to the steered model."""
    return request.question.partition("Here are my instructions: ")[2]


def task(
    index: int = 0, goal: str = "Red red blue", instructions: str = "use green", **changed: object
) -> HeadlineTask:
    values = {
        "suite": "tests",
        "index": index,
        "original": "The sky",
        "goal_prompt": "",
        "goal": goal,
        "goal_seed": -1,
        "instructions": instructions,
        "initial_seed": 7,
    }
    return HeadlineTask(**{**values, **changed})  # type: ignore[arg-type]
