"""Sessions in one batch of the dynamics: their places, and what their people have on the screen."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from experiments.people.log import Log
from experiments.people.screens import Screen
from experiments.people.study import Condition
from steer_env.dynamics import Offer
from steer_env.envs import SteeringVectorEnv
from steer_env.policies import Policy

_AHEAD = 4
"""Sessions for which images are made ahead at once: who comes to wait meanwhile waits for so many."""


@dataclass
class Due:
    """A session that waits.

    Args:
        person, log, screen: whose, what happened, and what the person sees.
        condition: of the session.
        task: of the session, with the prompt that the person wrote, if that comes first; or of headlines.
        seed: of its noise: that of every evaluation, so that people and simulated users meet the same proposals.
    """

    person: int
    log: Log
    screen: Screen
    condition: Condition
    task: Any
    seed: int

    @property
    def key(self) -> tuple[int, int]:
        return self.person, self.screen.session

    def event(self, kind: str, place: int) -> dict[str, Any] | None:
        """Of this session, if it happened."""
        return self.log.get((self.screen.session, kind, place))


@dataclass
class Seat:
    """A session's place in the batch, and what its person has on the screen.

    Args:
        row: of the batch.
        policy: decides the scales, but for those that the person sets by hand, from this one on.
        offer, judged: the images, and what further metrics say of them; None until they are made.
        place: round, from 0.
        used: when the worker was last here.
        ahead: by choice, the moment after it, if that was made ahead.
    """

    row: int
    policy: Policy | None = None
    by_hand: float | None = None
    offer: Offer | None = None
    judged: dict[str, list[float]] = field(default_factory=dict)
    place: int = 0
    used: float = field(default_factory=time.monotonic)
    ahead: dict[int, Moment] = field(default_factory=dict)


Moment = tuple[list[Any], "Policy | None", "Offer | None", dict[str, list[float]]]
"""Of a session: its state in the dynamics, and what its seat says of policy, offer and judges."""


class Stage:
    """Sessions of one mechanism, or of text steering, with their places in one batch of the dynamics.

    As many are kept in memory as the environment has places.
    """

    def __init__(self, env: SteeringVectorEnv) -> None:
        self.env, self.dynamics = env, env.dynamics
        self._seats: dict[tuple[int, int], Seat] = {}
        self._free = list(range(env.num_envs))[::-1]

    def seats(self, dues: Sequence[Due], policy: Callable[[Due], Policy] | None = None) -> list[Seat]:
        """A place for each; those without one begin again, from the start, in place of the least used ones."""
        mine = {due.key for due in dues}
        starting = [due for due in dues if due.key not in self._seats]
        for due in starting:
            if not self._free:
                oldest = min(self._seats.keys() - mine, key=lambda key: self._seats[key].used)
                self._free.append(self._seats.pop(oldest).row)
            seat = self._seats[due.key] = Seat(self._free.pop())
            seat.policy = policy(due) if policy else None
            seat.by_hand = due.screen.data["sitting"].plan.get("explore", {}).get("scale")
        if starting:
            rows = np.array([self._seats[due.key].row for due in starting])
            self.dynamics.reset([due.task for due in starting], [due.seed for due in starting], rows)
        for due in dues:
            self._seats[due.key].used = time.monotonic()
        return [self._seats[due.key] for due in dues]

    def unready(self) -> tuple[int, list[Seat]]:
        """A choice that people may make next, and some of them for whom what comes then isn't made yet."""
        choosing = [seat for seat in self._seats.values() if seat.offer is not None and seat.by_hand is None]
        choosing = [seat for seat in choosing if seat.place + 1 < self.dynamics.num_rounds]
        for choice in range(1 + self.dynamics.num_proposals):
            if seats := [seat for seat in choosing if choice not in seat.ahead]:
                return choice, sorted(seats, key=lambda seat: -seat.used)[:_AHEAD]
        return 0, []

    def propose(self, scales: Sequence[float], seats: Sequence[Seat]) -> None:
        """Make the next offers."""
        if seats:
            offer = self.dynamics.propose(np.array(scales), np.array([seat.row for seat in seats]))
            judged = self.dynamics.judge(offer)
            for i, seat in enumerate(seats):
                seat.offer, seat.judged = offer.part(i), {name: values[i].tolist() for name, values in judged.items()}

    def take(self, seat: Seat, choice: int) -> None:
        """Go on from a choice among the offer."""
        assert seat.offer is not None
        self.dynamics.take(seat.offer, torch.tensor([choice], device=seat.offer.similarities.device))
        seat.offer = None

    def scale(self, seat: Seat) -> float:
        """What the policy decides."""
        assert seat.policy is not None
        return float(seat.policy.act({name: values[[seat.row]] for name, values in self.env.observe().items()})[0])

    def moment(self, seat: Seat) -> Moment:
        """Where a session is, to come back."""
        return self.dynamics.snapshot(seat.row), seat.policy, seat.offer, seat.judged

    def go(self, seat: Seat, moment: Moment) -> None:
        """Come back."""
        self.dynamics.restore(seat.row, moment[0])
        _, seat.policy, seat.offer, seat.judged = moment


def png(image: np.ndarray) -> bytes:
    """uint8 (3, H, W) → a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, -1)).save(buffer, "PNG")
    return buffer.getvalue()
