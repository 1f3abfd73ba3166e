"""The dynamics of headline steering: N episodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from experiments.headlines.rule import check_instructions, word_overlap
from experiments.headlines.tasks import HeadlineTask, prompt_for
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

    Raises:
        ValueError: fewer than two attempts.
    """

    def __init__(self, model: Writer, metric: TextMetric, attempts: int = 5) -> None:
        if attempts < 2:
            raise ValueError(f"attempts must be at least 2, of which the first is where improvement starts: {attempts}")
        self.model, self.metric, self.num_attempts = model, metric, attempts
        self.reset([], [])

    def reset(self, tasks: Sequence[HeadlineTask], seeds: Sequence[int]) -> None:
        """Start N episodes: have the goals written that aren't given.

        Args:
            tasks: N.
            seeds: N, of the model's draws after the first attempt.

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

        Args:
            instructions: N; what stands before them in the prompt is the study's.

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
        for told, task, goal in zip(instructions, self.tasks, self.goals, strict=True):
            check_instructions(told, task.original, goal)
        seeds = [
            attempt_seed(seed, _STREAM, played) if played else task.initial_seed
            for task, seed in zip(self.tasks, self.seeds, strict=True)
        ]
        prompts = [prompt_for(task.original, told) for task, told in zip(self.tasks, instructions, strict=True)]
        texts = self._write(list(zip(prompts, seeds, strict=True)))
        for row, (text, embedding) in enumerate(zip(texts, self._embed(texts), strict=True)):
            self.instructions[row].append(instructions[row])
            self.texts[row].append(text)
            self.similarities[row].append(float(cosine(embedding, self._embedded[row])))
            self.overlaps[row].append(word_overlap(text, self.goals[row]))

    def _write(self, asked: Sequence[tuple[str, int]]) -> list[str]:
        """One line for each prompt and seed."""
        distinct = list(dict.fromkeys(asked))
        if not distinct:
            return []
        answers = self.model.write([Request("", prompt, seed, _CUE) for prompt, seed in distinct])
        lines = {pair: " ".join(answer.split()) for pair, answer in zip(distinct, answers, strict=True)}
        return [lines[pair] for pair in asked]

    def _embed(self, texts: Sequence[str]) -> list[Tensor]:
        distinct = list(dict.fromkeys(texts))
        embedded = dict(zip(distinct, self.metric.embed(distinct), strict=True)) if distinct else {}
        return [embedded[text] for text in texts]
