"""The worker: one process that owns the studio, and makes what people wait for, many at a time.

It reads what is due from the log, and writes what it made there. It keeps the state of sessions only to save work:
killed at any moment, it plays them again from the log, which says all that was drawn and chosen.
"""

from __future__ import annotations

import copy
import io
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from experiments.people.log import GOAL, Event, Log, Store
from experiments.people.options import PeopleOptions
from experiments.people.screens import Screen, screen_of
from experiments.people.study import Condition, Study
from steer_env.dynamics import Offer
from steer_env.envs import SteeringVectorEnv
from steer_env.evaluation.rollout import VERSIONS, make_env, make_text_env
from steer_env.evaluation.suites import evaluation_seed
from steer_env.policies import Policy, RandomBucketPolicy
from steer_env.policies.names import load_policy
from steer_env.proposals import BUCKETS
from steer_env.tasks import load_suite
from steer_env.types import Prompter, Studio, Task

_IDLE = 0.02
"""Seconds between looks at an empty queue."""


@dataclass
class Due:
    """A session that waits.

    Args:
        person, log, screen: whose, what happened, and what the person sees.
        condition: of the session.
        task: of the session, with the prompt that the person wrote, if that comes first.
        seed: of its noise: that of every evaluation, so that people and simulated users meet the same proposals.
    """

    person: int
    log: Log
    screen: Screen
    condition: Condition
    task: Task
    seed: int

    @property
    def key(self) -> tuple[int, int]:
        return self.person, self.screen.session

    def event(self, kind: str, place: int) -> dict[str, Any] | None:
        """Of this session, if it happened."""
        return self.log.get((self.screen.session, kind, place))


@dataclass
class Seat:
    """A session's place in the batch, and what its person has on the screen."""

    row: int
    policy: Policy | None = None
    offer: Offer | None = None
    place: int = 0
    used: float = field(default_factory=time.monotonic)


class Stage:
    """Sessions of one mechanism, or of text steering, with their places in one batch of the dynamics.

    Args:
        env: with as many places as sessions are kept in memory.
    """

    def __init__(self, env: SteeringVectorEnv) -> None:
        self.env, self.dynamics = env, env.dynamics
        self._seats: dict[tuple[int, int], Seat] = {}
        self._free = list(range(env.num_envs))[::-1]

    def forget(self, keys: set[tuple[int, int]]) -> None:
        """Free the places of sessions but for these."""
        for key in self._seats.keys() - keys:
            self._free.append(self._seats.pop(key).row)

    def seats(self, dues: Sequence[Due], policies: dict[str, Policy]) -> list[Seat]:
        """A place for each; those without one begin again, from the start, in place of the least used ones."""
        mine = {due.key for due in dues}
        starting = [due for due in dues if due.key not in self._seats]
        for due in starting:
            if not self._free:
                oldest = min(self._seats.keys() - mine, key=lambda key: self._seats[key].used)
                self._free.append(self._seats.pop(oldest).row)
            seat = self._seats[due.key] = Seat(self._free.pop())
            if policies:
                seat.policy = copy.deepcopy(policies[due.condition.spec])
                seat.policy.start([due.seed])
        if starting:
            rows = np.array([self._seats[due.key].row for due in starting])
            self.dynamics.reset([due.task for due in starting], [due.seed for due in starting], rows)
        for due in dues:
            self._seats[due.key].used = time.monotonic()
        return [self._seats[due.key] for due in dues]


class Worker:
    """Makes what people wait for.

    Args:
        study: the study.
        store: its log.
        parts: the environment's keyword arguments.
    """

    def __init__(self, study: Study, store: Store, parts: Mapping[str, Any]) -> None:
        self._study, self._store, self._options, self._parts = study, store, study.options, parts
        self._stages: dict[tuple[Any, ...], Stage] = {}
        self._studio: Studio | None = None
        self._policies: dict[str, Policy] = {}
        for condition in study.conditions:
            if condition.kind == "images":
                policy = load_policy(condition.options.policy)
                if isinstance(policy, Prompter):
                    raise ValueError(
                        f"{condition.spec}: {condition.options.policy} writes prompts; people choose images"
                    )
                self._policies[condition.spec] = policy
            if condition.kind in ("images", "text"):
                suite = load_suite(condition.options.suite)
                if self._options.goals > len(suite):
                    raise ValueError(f"goals must be 1 to {len(suite)}, the size of {suite.name}")
                self._stage(condition)

    def _stage(self, condition: Condition) -> Stage:
        """The batch that plays a condition; those that differ in their policies alone share one."""
        options = condition.options
        ways = (
            (options.rounds, options.proposals, options.mechanism)
            if condition.kind == "images"
            else (options.attempts, *options.choose)
        )
        key = (condition.kind, options.suite, *ways)
        if key not in self._stages:
            own = {**self._parts, "suite": options.suite, "render_mode": "rgb_array"}
            if self._studio is not None:
                own |= {
                    "studio": lambda *_: self._studio,
                    "generator": self._studio.generator,
                    "metric": self._studio.metric,
                }
            if condition.kind == "images":
                own |= {"rounds": options.rounds, "proposals": options.proposals}
                own |= {"mechanism": options.mechanism} if options.mechanism else {}
                env: SteeringVectorEnv = make_env(self._options.places, **own)
            else:
                own |= {"rounds": options.attempts - 1, "choose": options.choose}
                env = make_text_env(self._options.places, **own)
            self._studio = env.dynamics.studio
            self._stages[key] = Stage(env)
        return self._stages[key]

    def facts(self, condition: Condition) -> dict[str, Any]:
        """What traces say of the parts."""
        stage = self._stage(condition)
        policy = self._policies.get(condition.spec)
        return {
            "mechanism": stage.env.mechanism_id,
            "generator": stage.dynamics.generator.id,
            "metric": stage.dynamics.metric.id,
            "policy": policy.name if policy else "person",
            "training_seed": policy.training_seed if policy else -1,
            "versions": VERSIONS,
        }

    def turn(self, least: int = 1) -> int:
        """Go on with all who wait, as many as a batch has places; returns how many."""
        dues = [due for person in self._store.queue()[: self._options.places] if (due := self._due(person))]
        if len(dues) < least:
            return 0
        for stage, group in self._grouped(dues):
            beginning = [due for due in group if due.screen.data["for"] == "begun"]
            self._begin(stage, beginning)
            rest = [due for due in group if due.screen.data["for"] != "begun"]
            images = [due for due in rest if due.condition.kind == "images"]
            if images:
                self._offer(stage, images)
            if texts := [due for due in rest if due.condition.kind == "text"]:
                self._make(stage, texts)
        return len(dues)

    def _due(self, person: int) -> Due | None:
        log = self._store.log(person)
        screen = screen_of(log, self._study)
        if not screen.waits:
            self._store.append(person, [])
            return None
        condition = self._study.conditions[screen.data["condition"]]
        goal = log[-1, "assigned", 0]["cells"][screen.session][1]
        task = load_suite(condition.options.suite)[goal]
        if written := log.get((screen.session, "written", 0)):
            task = replace(task, prompt=written["prompt"])
        return Due(person, log, screen, condition, task, evaluation_seed(goal))

    def _grouped(self, dues: Sequence[Due]) -> Iterator[tuple[Stage, list[Due]]]:
        groups: dict[int, tuple[Stage, list[Due]]] = {}
        for due in dues:
            stage = self._stage(due.condition)
            groups.setdefault(id(stage), (stage, []))[1].append(due)
        yield from groups.values()

    def _begin(self, stage: Stage, dues: Sequence[Due]) -> None:
        """Make the goals of people who write before they see another image."""
        if not dues:
            return
        pictures = list(dict.fromkeys((due.task.goal_prompt, due.task.goal_seed) for due in dues))
        studio = stage.dynamics.studio
        _, images = studio.picture(*studio.prepare(pictures), "goals", keep_images=True, pictures=pictures)
        assert images is not None
        for due in dues:
            goal = images[pictures.index((due.task.goal_prompt, due.task.goal_seed))]
            self._record(due, "begun", {"facts": self.facts(due.condition)}, {(GOAL, 0): png(goal.numpy())})

    def _offer(self, stage: Stage, dues: list[Due]) -> None:
        """Play each session up to the round that its person waits for."""
        seats, dynamics = stage.seats(dues, self._policies), stage.dynamics
        pending = list(zip(dues, seats, strict=True))
        while pending:
            for due, seat in pending:
                self._take(stage, due, seat)
            scales = [self._scale(stage, due, seat) for due, seat in pending]
            offer = dynamics.propose(np.array(scales), np.array([seat.row for _, seat in pending]))
            judged = dynamics.judge(offer)
            for i, (due, seat) in enumerate(pending):
                seat.offer = offer.part(i)
                if due.event("offered", seat.place) is None:
                    self._record_offer(stage, due, seat, {name: values[i].tolist() for name, values in judged.items()})
            pending = [(due, seat) for due, seat in pending if due.event("chosen", seat.place) is not None]

    def _take(self, stage: Stage, due: Due, seat: Seat) -> None:
        """Go on from the choice, if there was one since the last offer."""
        if seat.offer is not None and (chosen := due.event("chosen", seat.place)):
            stage.dynamics.take(seat.offer, torch.tensor([chosen["choice"]], device=seat.offer.similarities.device))
            seat.offer, seat.place = None, seat.place + 1

    def _scale(self, stage: Stage, due: Due, seat: Seat) -> float:
        """What the policy decides; or what it had decided, when the session is played again."""
        assert seat.policy is not None
        observation = {name: values[[seat.row]] for name, values in stage.env.observe().items()}
        scale = float(seat.policy.act(observation)[0])
        offered = due.event("offered", seat.place)
        return float(offered["scale"]) if offered else scale

    def _record_offer(self, stage: Stage, due: Due, seat: Seat, judged: dict[str, list[float]]) -> None:
        offer, place = seat.offer, seat.place
        assert offer is not None
        assert offer.shown is not None
        assert offer.scales is not None
        pictures = {(place, item): png(image) for item, image in enumerate(offer.shown[0].numpy())}
        if place == 0:
            pictures[GOAL, 0] = png(stage.dynamics.goal_images[seat.row])
        assert seat.policy is not None
        data = {
            "scale": float(offer.scales[0]),
            "propensity": propensity(seat.policy),
            "similarities": offer.similarities[0].double().tolist(),
            "judged": judged,
            "fresh": offer.fresh[0].tolist(),
            "order": self._study.order(*due.key, place, len(offer.shown[0])),
            "facts": self.facts(due.condition),
            "images": int(stage.dynamics.images_made[seat.row]) + int(offer.fresh.sum()),
        }
        self._record(due, "offered", data, pictures, place)

    def _make(self, stage: Stage, dues: list[Due]) -> None:
        """Make the images of new prompts, and first those of the earlier ones, when a session is played again."""
        seats, dynamics = stage.seats(dues, {}), stage.dynamics
        pending = list(zip(dues, seats, strict=True))
        for due, seat in pending:
            if due.event("made", 0) is None:
                self._record_made(stage, due, seat)
        pending = [(due, seat) for due, seat in pending if due.event("written", seat.place + 1)]
        while pending:
            written = [due.event("written", seat.place + 1) or {} for due, seat in pending]
            rows = np.array([seat.row for _, seat in pending])
            chosen = {name: [event[name] for event in written] for name in stage.env.choose}
            dynamics.rewrite([event["prompt"] for event in written], rows, chosen.get("seed"), chosen.get("guidance"))
            for due, seat in pending:
                seat.place += 1
                if due.event("made", seat.place) is None:
                    self._record_made(stage, due, seat)
            pending = [(due, seat) for due, seat in pending if due.event("written", seat.place + 1)]

    def _record_made(self, stage: Stage, due: Due, seat: Seat) -> None:
        row, dynamics = np.array([seat.row]), stage.dynamics
        data = {
            "similarity": float(dynamics.similarity[seat.row]),
            "judged": {name: float(values[0]) for name, values in dynamics.judged(row).items()},
            "images": int(dynamics.images_made[seat.row]),
        }
        self._record(due, "made", data, {(seat.place, 0): png(dynamics.images[seat.row])}, seat.place)

    def _record(
        self, due: Due, kind: str, data: dict[str, Any], pictures: dict[tuple[int, int], bytes], place: int = 0
    ) -> None:
        due.log.setdefault((due.screen.session, kind, place), data)
        self._store.append(due.person, [Event(due.screen.session, kind, place, data)], pictures)


def propensity(policy: Policy) -> float | None:
    """Chance with which a policy decides as it did, for off-policy evaluation; None where it isn't known."""
    if isinstance(policy, RandomBucketPolicy):
        return 1 / BUCKETS
    return 1.0 if hasattr(policy, "scales") else None


def png(image: np.ndarray) -> bytes:
    """uint8 (3, H, W) → a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, -1)).save(buffer, "PNG")
    return buffer.getvalue()


def work(options: PeopleOptions, parts: Mapping[str, Any], folder: Path) -> None:
    """The worker's process: go on with who waits until the server is gone."""
    if options.threads:
        torch.set_num_threads(options.threads)
    study, parent = Study(options), os.getppid()
    store = Store(folder, lambda log: screen_of(log, study).waits)
    worker = Worker(study, store, parts)
    while os.getppid() == parent:
        if not store.queue():
            time.sleep(_IDLE)
            continue
        time.sleep(options.gather / 1000)
        worker.turn()
