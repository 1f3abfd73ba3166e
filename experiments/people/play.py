"""The worker: one process that owns the studio, and makes what people wait for, many at a time.

It reads what is due from the log, and writes what it made there. It keeps the state of sessions only to save work:
killed at any moment, it plays them again from the log, which says all that was drawn and chosen.
"""

from __future__ import annotations

import copy
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from experiments.people.learning import Learning
from experiments.people.log import GOAL, Event, Log, Store
from experiments.people.options import PeopleOptions
from experiments.people.screens import Screen, screen_of
from experiments.people.sources import prepare
from experiments.people.study import Condition, Study
from experiments.run.headlines.dynamics import HeadlineDynamics
from experiments.run.headlines.tasks import HeadlineTask, load_headlines
from steer_env.dynamics import Offer, SteeringDynamics
from steer_env.envs import SteeringVectorEnv, TextSteeringVectorEnv
from steer_env.evaluation.rollout import make_env, make_text_env
from steer_env.evaluation.suites import evaluation_seed
from steer_env.humans.writers import Writer, load_writer
from steer_env.policies import Policy, propensity
from steer_env.policies.names import load_policy
from steer_env.tasks import load_suite
from steer_env.types import DirectedMechanism, Prompter, Studio, passes
from steer_env.versions import VERSIONS

_IDLE = 0.02
"""Seconds between looks at an empty queue."""
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

    Args:
        env: with as many places as sessions are kept in memory.
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


class Worker:
    """Makes what people wait for.

    Args:
        study: the study.
        store: its log.
        parts: the environment's keyword arguments.
        model: the language model that people steer.
    """

    def __init__(self, study: Study, store: Store, parts: Mapping[str, Any], model: Writer | None = None) -> None:
        self._study, self._store, self._options, self._parts = study, store, study.options, parts
        self._headlines = (
            Headlines(study, store, model) if any(c.kind == "headlines" for c in study.conditions) else None
        )
        prepare(study, store)
        self._stages: dict[tuple[Any, ...], Stage] = {}
        self._studio: Studio | None = None
        self._policies: dict[str, Policy | Learning] = {}
        for condition in study.conditions:
            if condition.kind in ("images", "text"):
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
            if isinstance(env.dynamics.mechanism, DirectedMechanism):
                raise ValueError(
                    f"{condition.spec}: people's proposals are decided by scales, not by {env.mechanism_id}"
                )
            self._studio = env.dynamics.studio
            self._stages[key] = Stage(env)
        if condition.kind == "images" and condition.spec not in self._policies:
            if options.learn:
                place = self._study.conditions.index(condition)
                self._policies[condition.spec] = Learning(self._study, self._store, place)
            else:
                policy = load_policy(options.policy)
                assert not isinstance(policy, Prompter)
                self._policies[condition.spec] = policy
        return self._stages[key]

    def facts(self, due: Due) -> dict[str, Any]:
        """What traces say of the parts."""
        stage = self._stage(due.condition)
        policy = self._policies.get(due.condition.spec)
        return {
            "mechanism": stage.env.mechanism_id,
            "generator": stage.dynamics.generator.id,
            "metric": stage.dynamics.metric.id,
            "policy": policy.name if policy else "person",
            "training_seed": policy.training_seed if policy else -1,
            "versions": VERSIONS,
            "episode_seed": due.seed,
            "task": vars(due.task),
        }

    def turn(self, least: int = 1) -> int:
        """Go on with all who wait, as many as a batch has places; returns how many."""
        dues = [due for person in self._store.queue()[: self._options.places] if (due := self._due(person))]
        if len(dues) < least:
            return 0
        self.follow()
        if self._headlines is not None:
            self._headlines.turn([due for due in dues if due.condition.kind == "headlines"])
        for stage, group in self._grouped([due for due in dues if due.condition.kind != "headlines"]):
            beginning = [due for due in group if due.screen.data["for"] == "begun"]
            self._begin(stage, beginning)
            rest = [due for due in group if due.screen.data["for"] != "begun"]
            images = [due for due in rest if due.condition.kind == "images"]
            if images:
                self._offer(stage, images)
            if texts := [due for due in rest if due.condition.kind == "text"]:
                self._make(stage, texts)
        return len(dues)

    def follow(self) -> None:
        """Learn from the sessions that were finished since the last call."""
        for policy in self._policies.values():
            if isinstance(policy, Learning):
                policy.follow()

    def _due(self, person: int) -> Due | None:
        log = self._store.log(person)
        screen = screen_of(log, self._study)
        if not screen.waits:
            self._store.append(person, [])
            return None
        sitting = screen.data["sitting"]
        condition, goal = sitting.condition, sitting.goal
        if condition.kind == "headlines":
            assert self._headlines is not None
            return Due(person, log, screen, condition, self._headlines.task(goal), evaluation_seed(goal))
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
            self._record(due, "begun", {"facts": self.facts(due)}, {(GOAL, 0): png(goal.numpy())})

    def _offer(self, stage: Stage, dues: list[Due]) -> None:
        """Play each session up to the round that its person waits for."""
        pending = list(zip(dues, stage.seats(dues, self._policy), strict=True))
        while pending:
            for due, seat in pending:
                self._take(stage, due, seat)
            unmade = [(due, seat) for due, seat in pending if seat.offer is None]
            stage.propose([self._scale(stage, due, seat) for due, seat in unmade], [seat for _, seat in unmade])
            for due, seat in pending:
                if due.event("offered", seat.place) is None:
                    self._record_offer(stage, due, seat)
            pending = [(due, seat) for due, seat in pending if due.event("chosen", seat.place) is not None]

    def ahead(self) -> bool:
        """Make what comes after one choice of some people who are choosing; returns whether there was any."""
        for stage in self._stages.values():
            choice, seats = stage.unready()
            if not seats:
                continue
            now = [stage.moment(seat) for seat in seats]
            for seat in seats:
                stage.take(seat, choice)
                seat.policy = copy.deepcopy(seat.policy)
            stage.propose([stage.scale(seat) for seat in seats], seats)
            for seat, moment in zip(seats, now, strict=True):
                seat.ahead[choice] = stage.moment(seat)
                stage.go(seat, moment)
            return True
        return False

    def _policy(self, due: Due) -> Policy:
        """Of a session that begins."""
        policy = self._policies[due.condition.spec]
        if isinstance(policy, Learning):
            return policy.policy(*due.key, due.log)
        own = copy.deepcopy(policy)
        own.start([due.seed])
        return own

    def _take(self, stage: Stage, due: Due, seat: Seat) -> None:
        """Go on from the choice, if there was one since the last offer."""
        if seat.offer is not None and (chosen := due.event("chosen", seat.place)):
            ahead, seat.ahead = seat.ahead.get(chosen["choice"]), {}
            seat.place += 1
            if ahead:
                stage.go(seat, ahead)
            else:
                stage.take(seat, chosen["choice"])

    def _scale(self, stage: Stage, due: Due, seat: Seat) -> float:
        """What the policy decides; or what it had decided, when the session is played again."""
        scale = stage.scale(seat)
        if offered := due.event("offered", seat.place):
            return float(offered["scale"])
        before = due.event("chosen", seat.place - 1) or {}
        return scale if seat.by_hand is None else float(before.get("scale", seat.by_hand))

    def _record_offer(self, stage: Stage, due: Due, seat: Seat) -> None:
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
            "propensity": propensity(seat.policy, offer.scales).tolist()[0],
            "similarities": offer.similarities[0].double().tolist(),
            "judged": seat.judged,
            "fresh": offer.fresh[0].tolist(),
            "order": self._study.order(*due.key, place, len(offer.shown[0])),
            "facts": self.facts(due),
            **_cost(stage.dynamics, seat.row, int(offer.fresh.sum())),
        }
        self._record(due, "offered", data, pictures, place)

    def _make(self, stage: Stage, dues: list[Due]) -> None:
        """Make the images of new prompts, and first those of the earlier ones, when a session is played again."""
        seats, dynamics = stage.seats(dues), stage.dynamics
        pending = list(zip(dues, seats, strict=True))
        for due, seat in pending:
            if due.event("made", 0) is None:
                self._record_made(stage, due, seat)
        pending = [(due, seat) for due, seat in pending if due.event("written", seat.place + 1)]
        while pending:
            written = [due.event("written", seat.place + 1) or {} for due, seat in pending]
            rows = np.array([seat.row for _, seat in pending])
            chosen = {
                name: [event[name] for event in written] for name in cast(TextSteeringVectorEnv, stage.env).choose
            }
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
            **_cost(dynamics, seat.row),
        }
        self._record(due, "made", data, {(seat.place, 0): png(dynamics.images[seat.row])}, seat.place)

    def _record(
        self, due: Due, kind: str, data: dict[str, Any], pictures: dict[tuple[int, int], bytes], place: int = 0
    ) -> None:
        due.log.setdefault((due.screen.session, kind, place), data)
        self._store.append(due.person, [Event(due.screen.session, kind, place, data)], pictures)


class Headlines:
    """Makes what people wait for who steer a language model.

    An attempt depends on its headline, instructions and number alone: there is no state to keep.

    Args:
        study, store: as for :class:`Worker`.
        model: the language model.
    """

    def __init__(self, study: Study, store: Store, model: Writer | None) -> None:
        from experiments.run.headlines.embeddings import SentenceMetric

        if model is None or not study.options.sentences.path:
            raise ValueError(
                "headlines need a language model and a similarity: writer=local writer.path=… sentences.path=…"
            )
        self._store, self._model = store, model
        self._metric = SentenceMetric(study.options.sentences.path, study.options.sentences.device)
        (spec,) = {condition.options.suite for condition in study.conditions if condition.kind == "headlines"}
        self._suite = load_headlines(spec)
        if study.options.goals > len(self._suite.tasks):
            raise ValueError(f"goals must be 1 to {len(self._suite.tasks)}, the size of {self._suite.name}")

    def task(self, goal: int) -> HeadlineTask:
        """The headline of a cell."""
        return self._suite.tasks[goal]

    def turn(self, dues: Sequence[Due]) -> None:
        """Go on with all of them: those at the same attempt are one request to the model."""
        places: dict[int, list[Due]] = {}
        for due in dues:
            places.setdefault(-1 if due.screen.data["for"] == "begun" else due.screen.place, []).append(due)
        for place, group in places.items():
            if place < 0:
                self._begin(group)
            else:
                self._rewrite(group, place)

    def _begin(self, dues: Sequence[Due]) -> None:
        dynamics = HeadlineDynamics(self._model, self._metric)
        dynamics.reset([due.task for due in dues], [due.seed for due in dues])
        facts = {
            "mechanism": "text",
            "policy": "person",
            "generator": self._model.id,
            "metric": self._metric.id,
            "versions": VERSIONS,
        }
        for due, goal in zip(dues, dynamics.goals, strict=True):
            named = ("suite", "index", "goal_prompt", "goal_seed", "initial_seed")
            task = {**{name: getattr(due.task, name) for name in named}, "prompt": ""}
            own = {**facts, "episode_seed": due.seed, "task": task, "goal_text": goal}
            begun = {"facts": own, "original": due.task.original, "goal": goal}
            self._store.append(due.person, [Event(due.screen.session, "begun", 0, begun)])

    def _rewrite(self, dues: Sequence[Due], place: int) -> None:
        dynamics = HeadlineDynamics(self._model, self._metric, place + 1)
        begun = [due.event("begun", 0) or {} for due in dues]
        tasks = [replace(due.task, goal=b["goal"], goal_prompt="") for due, b in zip(dues, begun, strict=True)]
        dynamics.reset(tasks, [due.seed for due in dues])
        for row, due in enumerate(dues):
            dynamics.texts[row] = [(due.event("made", i) or {})["text"] for i in range(place)]
        dynamics.rewrite([(due.event("written", place) or {})["prompt"] for due in dues])
        for row, due in enumerate(dues):
            made = {
                "text": dynamics.texts[row][-1],
                "similarity": dynamics.similarities[row][-1],
                "judged": {"word-overlap": dynamics.overlaps[row][-1]},
            }
            self._store.append(due.person, [Event(due.screen.session, "made", place, made)])


def _cost(dynamics: SteeringDynamics, row: int, more: int = 0) -> dict[str, Any]:
    """Of a session with so many images more than it took before: images, and passes of the denoiser."""
    spent = float(dynamics.passes_made[row]) + more * passes(dynamics.generator)
    return {"images": int(dynamics.images_made[row]) + more, "passes": spent}


def png(image: np.ndarray) -> bytes:
    """uint8 (3, H, W) → a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, -1)).save(buffer, "PNG")
    return buffer.getvalue()


def work(options: PeopleOptions, parts: Mapping[str, Any], model: Mapping[str, Any], folder: Path) -> None:
    """The worker's process: go on with who waits until the server is gone."""
    if options.threads:
        torch.set_num_threads(options.threads)
    study, parent = Study(options), os.getppid()
    store = Store(folder, lambda log: screen_of(log, study).waits)
    worker = Worker(study, store, parts, load_writer(model) if model["name"] != "none" else None)
    while os.getppid() == parent:
        if store.queue():
            time.sleep(options.gather / 1000)
            worker.turn()
            continue
        worker.follow()
        if not (options.ahead and worker.ahead()):
            time.sleep(_IDLE)
