"""Bandits that learn from sessions one at a time, as people finish them or from recorded traces."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.bandits import BanditAgent, make_bandit
from agents.files import RunExistsError, write_json
from agents.thompson import SampledPolicy
from steer_env.files import reading
from steer_env.policies import TablePolicy, on_buckets
from steer_env.traces import SteeringTrace

POSTERIOR = "posterior.json"
_SESSION = 11


def learned(folder: Path) -> Any:
    """What a :class:`LiveLearner` of a folder knows, as :meth:`agents.bandits.BanditAgent.state` says it.

    Raises:
        FileNotFoundError: no posterior there.
    """
    text = (folder / POSTERIOR).read_text()
    with reading(folder / POSTERIOR):
        return json.loads(text)["agent"]


def replay(traces: Sequence[SteeringTrace], settings: Mapping[str, Any]) -> BanditAgent:
    """What a bandit learns from recorded sessions, in their order: the same as if it had seen them live.

    Args:
        traces: finished sessions of image steering, as :func:`check_session` wants them.
        settings: of the bandit, as :func:`agents.bandits.make_bandit` takes them.

    Raises:
        ValueError: no session, or one that a bandit can't learn from.
    """
    if not traces:
        raise ValueError("there is no session of image steering to learn from")
    agent = make_bandit(len(traces[0].scales), settings)
    for trace in traces:
        check_session(trace, len(traces[0].scales))
        # One at a time: sums of floats depend on how they are grouped.
        agent.update([trace])
    return agent


def check_session(trace: SteeringTrace, rounds: int) -> None:
    """
    Raises:
        ValueError: another number of rounds, scales that aren't buckets, or similarities that aren't numbers.
    """
    if len(trace.scales) != rounds or len(trace.choices) != rounds or len(trace.similarities) != rounds + 1:
        raise ValueError(
            f"task {trace.task_index}: a session of {len(trace.scales)} rounds, where {rounds} are learned"
        )
    if not on_buckets(np.asarray(trace.scales)).all():
        raise ValueError(f"a bandit learns from the scales 0.1, 0.2, …, 1.0, not from {list(trace.scales)}")
    if not np.isfinite(trace.similarities).all():
        raise ValueError("a bandit needs the similarity to the goal of every attempt")


class LiveLearner:
    """A bandit whose sessions begin at any time, overlap, and end in any order.

    A session plays one sample of the posterior as it is when the session begins; when it ends, the posterior learns
    from its trace and is saved before :meth:`observe` returns. What is learned is a function of the traces in the order
    in which they were observed: the same traces replayed in that order leave the same state to the last digit. A
    session is counted once, however often its trace comes; a session that never ends changes nothing.

    One process at a time may use a folder.

    Args:
        folder: receives ``posterior.json``; one that is there is gone on with.
        settings: of the bandit, as :func:`agents.bandits.make_bandit` takes them.
        rounds: R, of every session.
        seed: of the sessions' draws.

    Attributes:
        observed: names of the sessions learned from, in order.

    Raises:
        RunExistsError: the folder's posterior is of another bandit, number of rounds or seed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], rounds: int = 4, seed: int = 0) -> None:
        self._path, self._rounds = folder / POSTERIOR, rounds
        self.agent, self.seed = make_bandit(rounds, settings), seed
        self._identity = {**self.agent.settings, "rounds": rounds, "seed": seed}
        self.observed: list[str] = []
        if self._path.is_file():
            with reading(self._path):
                saved = dict(json.loads(self._path.read_text()))
            if saved.get("live") != self._identity:
                raise RunExistsError(f"{folder} holds a learner with {saved.get('live')}, not {self._identity}")
            with reading(self._path):
                self.agent.restore(saved["agent"])
                self.observed = list(saved["sessions"])

    def begin(self, session: str) -> SampledPolicy:
        """What a session plays: a sample of the posterior as it is now, with the session's own random numbers.

        A server that was restarted asks again and may get another sample, since more has been learned: it should keep
        the policy's ``scales`` and ``chances`` with the session, from which the same learner can be made again.
        """
        rng = np.random.default_rng([self.seed, _SESSION, *session.encode()])
        return self.agent.explore(1, rng, self.seed)

    def observe(self, session: str, trace: SteeringTrace) -> bool:
        """Learn from a finished session, and save.

        Args:
            session: its name, unique.
            trace: image steering with buckets as scales.

        Returns:
            False for a session that was learned from before, which changes nothing.

        Raises:
            ValueError: see :func:`check_session`.
        """
        if session in self.observed:
            return False
        check_session(trace, self._rounds)
        self.agent.update([trace])
        self.observed.append(session)
        record = {"live": self._identity, "sessions": self.observed, "agent": self.agent.state()}
        write_json(record, self._path)
        return True

    def forget(self) -> None:
        """Begin again with nothing learned, such as where a person takes a session back."""
        self._path.unlink(missing_ok=True)
        self.agent, self.observed = make_bandit(self._rounds, self.agent.settings), []

    def policy(self, name: str) -> TablePolicy:
        """The best policy as far as is known; a RuntimeError before the first session."""
        return self.agent.policy(name, self.seed)
