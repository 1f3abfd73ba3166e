"""Simulated users who write prompts for the embedded domain, by rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from steer_env import tiles
from steer_env.registry import Registry
from steer_env.ties import first_best
from steer_env.types import Prompter, Task

_STREAM = 3


class RulePrompter:
    """Writes each episode's prompts by a rule of its subclass, with a stream of the episode's own.

    Args:
        synonym_rate: probability of another word for the same thing, in [0, 1].
        mistake_rate: probability of a similar but wrong colour in what is named anew, in [0, 1].

    The defaults are those of the suites' first prompts.

    Raises:
        ValueError: a rate outside [0, 1].
    """

    name: str
    training_seed = -1

    def __init__(
        self, synonym_rate: float = tiles.CASUAL.synonym_rate, mistake_rate: float = tiles.CASUAL.mistake_rate
    ) -> None:
        self.wording = tiles.Wording(synonym_rate, mistake_rate)

    def start(self, tasks: Sequence[Task], episode_seeds: Sequence[int]) -> None:
        """See :class:`steer_env.types.Prompter`."""
        self._tasks = list(tasks)
        self._rngs = [np.random.default_rng([seed, _STREAM]) for seed in episode_seeds]

    def write(self, prompts: Sequence[Sequence[str]], similarities: np.ndarray) -> list[str]:
        """See :class:`steer_env.types.Prompter`.

        Raises:
            ValueError: a prompt, or a goal that the rule looks at, that is no caption of a tiling.
        """
        episodes = zip(self._tasks, prompts, similarities, self._rngs, strict=True)
        return [self._rewrite(*episode) for episode in episodes]

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        raise NotImplementedError


class AttributePrompter(RulePrompter):
    """Sees the goal: adds to the last prompt one attribute of the goal that it doesn't name yet.

    What was once named stays as it is, mistakes included; a prompt that names everything is played again.
    """

    name = "text attribute"

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        words, goal = tiles.words_of(prompts[-1]), tiles.parse(task.goal_prompt)
        missing = [factor for factor in np.flatnonzero(goal != tiles.UNNAMED).tolist() if factor not in words]
        if missing:
            added = int(rng.choice(missing))
            words[added] = self.wording.name(added, goal[added], rng)
        return tiles.arrange(words)


class BlindPrompter(RulePrompter):
    """Never sees the goal or an image: says in other words what the first prompt says (paper, C.1)."""

    name = "text blind"

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        factors = tiles.parse(prompts[0])
        return tiles.caption(factors, factors != tiles.UNNAMED, tiles.Wording(self.wording.synonym_rate), rng)


class FeedbackPrompter(RulePrompter):
    """Sees how similar the images were, not the goal: changes or adds one attribute of the best prompt so far."""

    name = "text feedback"

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        best = prompts[int(first_best(similarities))]
        words, said = tiles.words_of(best), tiles.parse(best)
        changed = int(rng.integers(len(tiles.FACTORS)))
        value = int(rng.choice(np.setdiff1d(np.arange(tiles.CARDINALITIES[changed]), said[changed])))
        words[changed] = self.wording.name(changed, value, rng)
        return tiles.arrange(words)


PROMPTERS: Registry[Callable[..., Prompter]] = Registry(
    "prompter", {"attribute": AttributePrompter, "blind": BlindPrompter, "feedback": FeedbackPrompter}
)


def load_prompter(name: str = "attribute", **options: Any) -> Prompter:
    """The simulated user of that name; see its class for the options.

    Raises:
        ValueError: an unknown name or option value.
    """
    return PROMPTERS[name](**options)
