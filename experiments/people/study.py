"""The study as its options say: conditions, texts, and who plays what."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from experiments.people.options import CONDITIONS, LEARNERS, ImagesOptions, PeopleOptions, TextOptions
from steer_env.mechanisms import MECHANISMS
from steer_env.policies.names import load_policy
from steer_env.policies.stored import StoredPolicy
from steer_env.registry import parse_spec, resolve
from steer_env.tasks import load_suite
from steer_env.types import Prompter

EXAMPLE = Path(__file__).parent / "templates" / "consent.txt"
_PLAN, _ORDER, _CHECK = 0xA551, 0x0DE5, 0xC4EC
"""Streams of random draws."""


@dataclass(frozen=True)
class Condition:
    """One of the study's.

    Args:
        spec: as it was given; what results call it.
        kind: images, text, headlines or ratings.
        options: its own, with defaults filled in.
    """

    spec: str
    kind: str
    options: Any

    @property
    def steps(self) -> int:
        """Rounds, attempts or questions of a session."""
        names = {"images": "rounds", "text": "attempts", "headlines": "attempts", "ratings": "goals"}
        return int(getattr(self.options, names[self.kind]))


class Study:
    """What doesn't change while people take part.

    Raises:
        ValueError: an unknown condition, or an option that it can't have; a session for each condition within persons
            that there isn't.
        FileNotFoundError: no file with the text of consent, or of instructions.
    """

    def __init__(self, options: PeopleOptions) -> None:
        self.options = options
        self.conditions = [self.condition(spec) for spec in options.conditions]
        self.sources: dict[int, list[Any]] = {}
        for condition in self.conditions:
            if condition.kind in ("images", "text"):
                suite = load_suite(condition.options.suite)
                if options.goals > len(suite):
                    raise ValueError(f"goals must be 1 to {len(suite)}, the size of {suite.name}, got {options.goals}")
            check_policy(condition)
        self.consent = _text("consent", options.consent or str(EXAMPLE))
        self.instructions = _text("instructions", options.instructions) if options.instructions else ""
        if options.design == "within" and options.sessions > options.goals:
            raise ValueError(f"sessions={options.sessions} of a person need as many goals, got goals={options.goals}")

    def condition(self, spec: str | Mapping[str, Any]) -> Condition:
        """A condition with the study's options where it has none of its own."""
        return _condition(spec, self.options)

    def condition_of(self, plan: Mapping[str, Any], session: int) -> Condition:
        """What a person's session is, of those assigned."""
        return (
            self.condition(plan["explore"]["spec"]) if "explore" in plan else self.conditions[plan["cells"][session][0]]
        )

    def content(self) -> dict[str, list[str]]:
        """What must not change while people take part, by condition: tasks, and what a policy does."""
        return {condition.spec: _content(condition) for condition in self.conditions if condition.kind != "ratings"}

    @cached_property
    def consent_version(self) -> str:
        """Hash of the text that people agree to."""
        return hashlib.sha256(self.consent.encode()).hexdigest()[:16]

    def plan(self, person: int, assigned: Mapping[tuple[int, int], int], persons: int) -> list[tuple[int, int]]:
        """Which cells (condition, goal) a person plays, in this order; none if all are taken.

        Conditions with the fewest sessions come first, and in a condition the first goals that are free, so that every
        goal is soon played in each condition. Ties are drawn.

        Args:
            person: number of the person.
            assigned: sessions that are finished or going on, by cell.
            persons: who were given cells before.
        """
        options, rng = self.options, np.random.default_rng([_PLAN, self.options.seed, person])
        loads = Counter(dict.fromkeys(range(len(self.conditions)), 0))
        for (condition, _), count in assigned.items():
            loads[condition] += count
        free = {place: [goal for goal in range(options.goals) if not assigned.get((place, goal))] for place in loads}
        cells: list[tuple[int, int]] = []
        for _ in range(options.sessions):
            played = {goal for _, goal in cells}
            mine = {condition for condition, _ in cells}
            able = [place for place in loads if any(goal not in played for goal in free[place])]
            if options.design == "within":
                able = [place for place in able if place not in mine] or able
            elif mine:
                able = [place for place in able if place in mine]
            if not able:
                break
            least = min(loads[place] for place in able)
            place = int(rng.choice([place for place in able if loads[place] == least]))
            goal = next(goal for goal in free[place] if goal not in played)
            cells.append((place, goal))
            loads[place] += 1
            free[place].remove(goal)
        return _rotated(cells, persons) if options.design == "within" else cells

    def attention(self, person: int, cells: Sequence[tuple[int, int]]) -> list[int]:
        """For each session, the round before which attention is checked; −1 for none."""
        rng = np.random.default_rng([_CHECK, self.options.seed, person])
        rounds = []
        for condition, _ in cells:
            kind, steps = self.conditions[condition].kind, self.conditions[condition].steps
            checked = rng.random() < self.options.attention and kind == "images" and steps > 1
            rounds.append(int(rng.integers(1, steps)) if checked else -1)
        return rounds

    def order(self, person: int, session: int, place: int, items: int) -> list[int]:
        """Which item stands at each place of the screen."""
        words = [_ORDER, self.options.seed, person, session, place]
        return np.random.default_rng(words).permutation(items).tolist()


def check_policy(condition: Condition) -> None:
    """Raises a ValueError for images whose policy writes prompts."""
    if condition.kind == "images" and isinstance(load_policy(condition.options.policy), Prompter):
        raise ValueError(f"{condition.spec}: {condition.options.policy} writes prompts; people choose images")


def _content(condition: Condition) -> list[str]:
    if condition.kind == "headlines":
        from experiments.run.headlines.tasks import load_headlines

        return [load_headlines(condition.options.suite).name]
    policy = load_policy(condition.options.policy) if condition.kind == "images" else None
    tasks = load_suite(condition.options.suite).name
    return [tasks, policy.content()] if isinstance(policy, StoredPolicy) else [tasks]


def _text(name: str, place: str) -> str:
    path = Path(place).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{name}: there is no file {place}")
    return path.read_text(encoding="utf-8").strip()


def _rotated(cells: list[tuple[int, int]], persons: int) -> list[tuple[int, int]]:
    """Every condition as often in every position: a Latin square over persons."""
    ordered = sorted(cells)
    shift = persons % max(1, len(ordered))
    return ordered[shift:] + ordered[:shift]


def _condition(spec: str | Mapping[str, Any], options: PeopleOptions) -> Condition:
    _, chosen = resolve(CONDITIONS, spec)
    env = options.env
    if isinstance(chosen, ImagesOptions):
        if chosen.mechanism:
            resolve(MECHANISMS, chosen.mechanism)
        if chosen.learn:
            resolve(LEARNERS, chosen.learn)
            if chosen.policy:
                raise ValueError(f"{spec}: give a policy, or a bandit that learns one, not both")
        chosen = replace(
            chosen,
            policy=chosen.policy or "random-bucket",
            suite=chosen.suite or env.suite,
            rounds=chosen.rounds or env.rounds,
            proposals=chosen.proposals or env.proposals,
        )
    if isinstance(chosen, TextOptions):
        chosen = replace(chosen, suite=chosen.suite or env.suite)
    return Condition(str(spec), parse_spec(spec)[0], chosen)
