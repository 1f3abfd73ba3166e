"""Bandits that learn from a study while it runs. What they know is a function of the log, as every screen is."""

from __future__ import annotations

import numpy as np

from agents.live import LiveLearner
from agents.thompson import SampledPolicy
from experiments.people.log import Event, Log, Store, session_name
from experiments.people.options import LEARNERS
from experiments.people.sessions import ended, once
from experiments.people.study import Study
from steer_env.registry import resolve

FOLDER = "learned"
"""Of a study; it holds a folder for each condition that learns, by its place among all."""


class Learning:
    """The bandit of a condition, by its place among all, which learns from a session as soon as that is finished."""

    def __init__(self, study: Study, store: Store, place: int) -> None:
        self._store, self._place = store, place
        options, self.training_seed = study.conditions[place].options, study.options.seed
        self.name = f"{options.learn}, learning"
        own = store.folder / FOLDER / str(place)
        own.mkdir(parents=True, exist_ok=True)
        settings = vars(resolve(LEARNERS, options.learn)[1])
        self._learner = LiveLearner(own, settings, options.rounds, study.options.seed)
        self._followed: tuple[int, int] | None = None

    def follow(self) -> None:
        """Learn from what was finished since the last call, in the order in which it was.

        Where a session counts no more, as its person has withdrawn or failed a check, all others are learned anew.
        """
        if (changes := self._store.changes()) == self._followed:
            return
        sessions = {each.name: each for each in once(ended(self._store)) if each.cell[0] == self._place}
        known = self._learner.observed
        if known != list(sessions)[: len(known)]:
            self._learner.forget()
            known = []
        for name, each in list(sessions.items())[len(known) :]:
            if each.events:
                self._learner.observe(name, each.trace)
        self._followed = changes

    def policy(self, person: int, session: int, log: Log) -> SampledPolicy:
        """What a session plays: a sample of what is known when it begins, which the log keeps."""
        key = (session, "drawn", 0)
        if key not in log:
            sample = self._learner.begin(session_name(person, session))
            chances = None if sample.chances is None else sample.chances.tolist()
            log[key] = {"scales": sample.scales.tolist(), "chances": chances}
            self._store.append(person, [Event(*key, log[key])])
        drawn = log[key]
        chances = None if drawn["chances"] is None else np.array(drawn["chances"])
        policy = SampledPolicy(np.array(drawn["scales"]), self.training_seed, chances)
        policy.name = self.name
        return policy
