"""Simulated users who write prompts for the embedded domain, by rules, or as people of the released study do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steer_env.humans.options import PersonOptions, RuleOptions
from steer_env.ties import first_best
from steer_env.tiles import tilings
from steer_env.types import Task

_STREAM = 3
_USUAL, _PEOPLES = RuleOptions(), PersonOptions()


class RulePrompter:
    """Writes each episode's prompts by its subclass's rule, with the episode's own random numbers."""

    training_seed = -1

    def __init__(self, options: RuleOptions = _USUAL) -> None:
        self.wording = tilings.Wording(options.synonym_rate, options.mistake_rate)

    def start(self, tasks: Sequence[Task], episode_seeds: Sequence[int]) -> None:
        self._tasks = list(tasks)
        self._rngs = [np.random.default_rng([seed, _STREAM]) for seed in episode_seeds]

    def write(self, prompts: Sequence[Sequence[str]], similarities: np.ndarray) -> list[str]:
        """As for :class:`steer_env.types.Prompter`; a ValueError where a prompt or goal is no caption of a tiling."""
        episodes = zip(self._tasks, prompts, similarities, self._rngs, strict=True)
        return [self._rewrite(*episode) for episode in episodes]

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        raise NotImplementedError


class AttributePrompter(RulePrompter):
    """Sees the goal: adds to the last prompt one attribute of the goal that it doesn't name yet.

    Earlier attributes stay, mistakes included; a prompt that names everything is played again.
    """

    name = "text attribute"

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        words, goal = tilings.words_of(prompts[-1]), tilings.parse(task.goal_prompt)
        missing = [factor for factor in np.flatnonzero(goal != tilings.UNNAMED).tolist() if factor not in words]
        if missing:
            added = int(rng.choice(missing))
            words[added] = self.wording.name(added, goal[added], rng)
        return tilings.arrange(words)


class BlindPrompter(RulePrompter):
    """Never sees the goal or an image: says in other words what the first prompt says (paper, C.1)."""

    name = "text blind"

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        factors = tilings.parse(prompts[0])
        return tilings.caption(factors, factors != tilings.UNNAMED, tilings.Wording(self.wording.synonym_rate), rng)


class FeedbackPrompter(RulePrompter):
    """Sees how similar the images were, not the goal: changes or adds one attribute of the best prompt so far."""

    name = "text feedback"

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        best = prompts[int(first_best(similarities))]
        words, values = tilings.words_of(best), tilings.parse(best)
        changed = int(rng.integers(len(tilings.FACTORS)))
        value = int(rng.choice(np.setdiff1d(np.arange(tilings.CARDINALITIES[changed]), values[changed])))
        words[changed] = self.wording.name(changed, value, rng)
        return tilings.arrange(words)


class PersonPrompter(RulePrompter):
    """Sees the goal, and rewrites as people do; see :class:`steer_env.humans.options.PersonOptions`."""

    name = "text person"

    def __init__(self, options: PersonOptions = _PEOPLES) -> None:
        super().__init__(RuleOptions(options.synonym_rate, mistake_rate=0.0))
        self.rates = options

    def _rewrite(self, task: Task, prompts: Sequence[str], similarities: np.ndarray, rng: np.random.Generator) -> str:
        words, values, goal = tilings.words_of(prompts[-1]), tilings.parse(prompts[-1]), tilings.parse(task.goal_prompt)
        rates = self.rates
        named = rates.named[min(len(prompts), len(rates.named)) - 1]
        for factor, (changed, right, other) in enumerate(rng.random((len(tilings.FACTORS), 3))):
            if factor in words:
                if changed < (rates.lost if values[factor] == goal[factor] else rates.taken_back):
                    del words[factor]
            elif changed < named and goal[factor] != tilings.UNNAMED:
                others = np.setdiff1d(np.arange(tilings.CARDINALITIES[factor]), goal[factor])
                value = goal[factor] if right < rates.right else others[int(other * len(others))]
                words[factor] = self.wording.name(factor, int(value), rng)
        return tilings.arrange(words) or prompts[-1]
