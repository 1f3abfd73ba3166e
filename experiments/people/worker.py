"""The worker: one process that owns the studio, and makes what people wait for, many at a time.

It reads what is due from the log, and writes what it made there. It keeps the state of sessions only to save work:
killed at any moment, it plays them again from the log, which says all that was drawn and chosen.
"""

from __future__ import annotations

import copy
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from experiments.people.headlines import Headlines
from experiments.people.learning import Learning
from experiments.people.log import GOAL, NO_SESSION, Event, Store
from experiments.people.options import PeopleOptions
from experiments.people.screens import screen_of
from experiments.people.sources import prepare
from experiments.people.stage import Due, Seat, Stage, png
from experiments.people.study import Condition, Study
from steer_env.compatibility import reason
from steer_env.dynamics import SteeringDynamics
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


class Worker:
    """Makes what people wait for, with the environment's keyword arguments, or the language model that people steer."""

    def __init__(self, study: Study, store: Store, parts: Mapping[str, Any], model: Writer | None = None) -> None:
        self._study, self._store, self._options, self._parts = study, store, study.options, parts
        steers_texts = any(condition.kind == "headlines" for condition in study.conditions)
        self._headlines = Headlines(study, store, model) if steers_texts else None
        prepare(study, store)
        store.keep(study.content())
        self._stages: dict[tuple[Any, ...], Stage] = {}
        self._studio: Studio | None = None
        self._policies: dict[str, Policy | Learning] = {}
        for condition in study.conditions:
            if condition.kind in ("images", "text"):
                self._stage(condition)

    def _stage(self, condition: Condition) -> Stage:
        """The batch that plays a condition; those that differ in their policies alone share one."""
        options = condition.options
        names = ("rounds", "proposals", "mechanism") if condition.kind == "images" else ("attempts", "choose")
        key = (condition.kind, options.suite, *(str(getattr(options, name)) for name in names))
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

    def turn(self) -> int:
        """Go on with all who wait, as many as a batch has places; returns how many."""
        dues = [due for person in self._store.queue()[: self._options.places] if (due := self._due(person))]
        if dues:
            self.follow()
        by_hand = [due for due in dues if "explore" in due.screen.data["sitting"].plan]
        for due in by_hand:
            try:
                self._go_on([due])
            except Exception as error:
                # What the researcher tries may not stop what others take part in.
                self._store.append(due.person, [Event(NO_SESSION, "broken", 0, {"reason": reason(error)})])
        self._go_on([due for due in dues if due not in by_hand])
        return len(dues)

    def _go_on(self, dues: Sequence[Due]) -> None:
        if self._headlines is not None:
            self._headlines.turn([due for due in dues if due.condition.kind == "headlines"])
        groups: dict[tuple[Stage, str], list[Due]] = {}
        for due in dues:
            if due.condition.kind != "headlines":
                waits = "begun" if due.screen.data["for"] == "begun" else due.condition.kind
                groups.setdefault((self._stage(due.condition), waits), []).append(due)
        ways = {"begun": self._begin, "images": self._offer, "text": self._make}
        for (stage, waits), group in groups.items():
            ways[waits](stage, group)

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
        task: Any
        if condition.kind == "headlines":
            assert self._headlines is not None
            task = self._headlines.task(goal)
        else:
            task = load_suite(condition.options.suite)[goal]
            if written := log.get((screen.session, "written", 0)):
                task = replace(task, prompt=written["prompt"])
        return Due(person, log, screen, condition, task, evaluation_seed(goal))

    def _begin(self, stage: Stage, dues: Sequence[Due]) -> None:
        """Make the goals of people who write before they see another image."""
        pictures = list(dict.fromkeys((due.task.goal_prompt, due.task.goal_seed) for due in dues))
        studio = stage.dynamics.studio
        _, images = studio.picture(*studio.prepare(pictures), "goals", keep_images=True, pictures=pictures)
        assert images is not None
        for due in dues:
            goal = images[pictures.index((due.task.goal_prompt, due.task.goal_seed))]
            self._record(due, "begun", {"facts": self.facts(due)}, {(GOAL, 0): png(goal.numpy())})

    def _offer(self, stage: Stage, dues: Sequence[Due]) -> None:
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

    def _make(self, stage: Stage, dues: Sequence[Due]) -> None:
        """Make the images of new prompts, and first those of the earlier ones, when a session is played again."""
        pending, dynamics = list(zip(dues, stage.seats(dues), strict=True)), stage.dynamics
        for due, seat in pending:
            if due.event("made", 0) is None:
                self._record_made(stage, due, seat)
        while pending := [(due, seat) for due, seat in pending if due.event("written", seat.place + 1)]:
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


def _cost(dynamics: SteeringDynamics, row: int, more: int = 0) -> dict[str, Any]:
    """Of a session with so many images more than it took before: images, and passes of the denoiser."""
    spent = float(dynamics.passes_made[row]) + more * passes(dynamics.generator)
    return {"images": int(dynamics.images_made[row]) + more, "passes": spent}


def work(options: PeopleOptions, parts: Mapping[str, Any], model: Mapping[str, Any], folder: Path) -> None:
    """The worker's process: go on with who waits until the server is gone."""
    if options.threads:
        torch.set_num_threads(options.threads)
    study, server = Study(options), multiprocessing.parent_process()
    assert server is not None
    with closing(Store(folder, lambda log: screen_of(log, study).waits)) as store:
        worker = Worker(study, store, parts, load_writer(model) if model["name"] != "none" else None)
        while server.is_alive():
            if store.queue():
                time.sleep(options.gather / 1000)
                worker.turn()
                continue
            worker.follow()
            if not (options.ahead and worker.ahead()):
                time.sleep(_IDLE)
