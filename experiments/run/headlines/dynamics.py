"""The dynamics of headline steering: N episodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from experiments.run.headlines.rule import check_instructions, word_overlap
from experiments.run.headlines.tasks import HeadlineTask, prompt_for
from steer_env.humans.prompts import attempt_seed
from steer_env.humans.writers import Request, Writer, WriterError
from steer_env.types import cosine

_CUE = "Rewritten headline:"
_STREAM = 0x7EE7


class TextMetric(Protocol):
    """A similarity of texts, as the cosine of embeddings. ``id`` is what traces call it."""

    id: str

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts (B) → unit vectors float32 (B, D), or zeros for an empty one, each a function of its own text alone."""


class HeadlineDynamics:
    """What happens when users steer a language model (paper, appendix B.2).

    Separate from :class:`steer_env.dynamics.SteeringDynamics`, which goes on from latents and draws proposals around
    them: a language model has no latent to hold, and its user knows the original and reads the texts. The conventions
    are the same: an episode's course depends on its task, its seed and its prompts alone, each attempt has a fresh
    seed, and equal requests of a batch are made once.

    Args:
        model: writes the headlines.
        metric: judges similarity.
        attempts: of an episode, the first among them; 5 in the paper.

    Attributes:
        tasks: N.
        goals: N, the goal headlines.
        seeds: N, of the episodes.
        instructions, texts, similarities: N × t, of each attempt so far.
        overlaps: N × t, word overlap with the goal, which nothing is optimised for.
    """

    def __init__(self, model: Writer, metric: TextMetric, attempts: int = 5) -> None:
        self.model, self.metric, self.num_attempts = model, metric, attempts
        self.reset([], [])

    def reset(self, tasks: Sequence[HeadlineTask], seeds: Sequence[int]) -> None:
        """Start N episodes, with seeds of the model's draws after the first attempt: have missing goals written.

        Raises:
            ValueError: not as many seeds as tasks.
            WriterError: no answer, or an empty goal.
        """
        if len(tasks) != len(seeds):
            raise ValueError(f"{len(tasks)} episodes need as many seeds, got {len(seeds)}")
        self.tasks, self.seeds = list(tasks), list(seeds)
        hidden = [task for task in tasks if not task.goal]
        written = iter(self._write([(task.goal_prompt, task.goal_seed) for task in hidden]))
        self.goals = [task.goal or next(written) for task in tasks]
        for task, goal in zip(tasks, self.goals, strict=True):
            if not goal:
                where = f"{task.suite}[{task.index}] with goal seed {task.goal_seed}"
                raise WriterError(f"{self.model.id} wrote an empty goal for {where}: give another seed, or the goal")
        self._embedded = self._embed(self.goals)
        self.instructions: list[list[str]] = [[] for _ in tasks]
        self.texts: list[list[str]] = [[] for _ in tasks]
        self.similarities: list[list[float]] = [[] for _ in tasks]
        self.overlaps: list[list[float]] = [[] for _ in tasks]

    def rewrite(self, instructions: Sequence[str]) -> None:
        """Play one attempt of every episode: the model rewrites the original headline by each user's instructions.

        Raises:
            ForbiddenWordsError: instructions that break the rule; nothing is played then.
            RuntimeError: the episodes are over.
            ValueError: not as many instructions as episodes.
            WriterError: no answer.
        """
        if len(instructions) != len(self.tasks):
            raise ValueError(f"{len(self.tasks)} episodes need as many instructions, got {len(instructions)}")
        played = len(self.texts[0]) if self.texts else 0
        if played >= self.num_attempts:
            raise RuntimeError(f"the episodes are over after {self.num_attempts} attempts: call reset")
        requests = []
        for words, task, goal, seed in zip(instructions, self.tasks, self.goals, self.seeds, strict=True):
            check_instructions(words, task.original, goal)
            drawn = attempt_seed(seed, _STREAM, played) if played else task.initial_seed
            requests.append((prompt_for(task.original, words), drawn))
        texts = self._write(requests)
        for row, (text, embedding) in enumerate(zip(texts, self._embed(texts), strict=True)):
            self.instructions[row].append(instructions[row])
            self.texts[row].append(text)
            self.similarities[row].append(float(cosine(embedding, self._embedded[row])))
            self.overlaps[row].append(word_overlap(text, self.goals[row]))

    def _write(self, requests: Sequence[tuple[str, int]]) -> list[str]:
        """One line for each prompt and seed."""
        distinct = list(dict.fromkeys(requests))
        requested = [Request("", prompt, seed, _CUE) for prompt, seed in distinct]
        answers = dict(zip(distinct, self.model.write(requested) if requested else [], strict=True))
        return [" ".join(answers[request].split()) for request in requests]

    def _embed(self, texts: Sequence[str]) -> list[Tensor]:
        distinct = list(dict.fromkeys(texts))
        embedded = dict(zip(distinct, self.metric.embed(distinct) if distinct else [], strict=True))
        return [embedded[text] for text in texts]
