"""Sessions of steering a language model: what people wait for who do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.people.log import Event, Store
from experiments.people.stage import Due
from experiments.people.study import Study
from experiments.run.headlines.dynamics import HeadlineDynamics
from experiments.run.headlines.embeddings import SentenceMetric
from experiments.run.headlines.tasks import HeadlineTask, load_headlines
from steer_env.humans.writers import Writer
from steer_env.versions import VERSIONS


class Headlines:
    """Makes what people wait for who steer a language model.

    An attempt depends on its headline, instructions and number alone: there is no state to keep.
    """

    def __init__(self, study: Study, store: Store, model: Writer | None) -> None:
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
