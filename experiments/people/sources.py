"""What annotators rate: finished sessions of a study, copied with their images into the rating study's database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.people.log import DATABASE, GOAL, NO_SESSION, Log, Store, of_session
from experiments.people.study import Study
from steer_env.traces import PERSON


@dataclass(frozen=True)
class Source:
    """A session that a person steered.

    Args:
        person: who, as traces call them.
        session: the person's, from 0.
        suite, task_index: the task.
        policy, mechanism, generator: of the session.
        prompts: of each attempt; one for all where the person chose images.
        similarities: to the goal, of each attempt's image, the first one included.
        judged: likewise, by each further metric.
    """

    person: str
    session: int
    suite: str
    task_index: int
    policy: str
    mechanism: str
    generator: str
    prompts: list[str]
    similarities: list[float]
    judged: dict[str, list[float]] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        """How many images there are."""
        return len(self.similarities)

    @property
    def item(self) -> str:
        """What tables of ratings call the session."""
        return f"{self.person}, session {self.session}"

    def prompt(self, attempt: int) -> str:
        """Behind an attempt."""
        return self.prompts[min(attempt, len(self.prompts) - 1)]


def prepare(study: Study, store: Store) -> None:
    """Copy what is to be rated, once, and tell the study of it.

    Raises:
        FileNotFoundError: no study in a condition's folder.
        ValueError: one without a finished session of images.
    """
    for place, condition in enumerate(study.conditions):
        if condition.kind != "ratings":
            continue
        known = store.sources(place)
        if not known:
            store.add_sources(place, _finished(Path(condition.options.of).expanduser()))
            known = store.sources(place)
        if not known:
            raise ValueError(f"{condition.spec}: {condition.options.of} has no finished session with images")
        study.sources[place] = [Source(**json.loads(facts)) for facts in known]


def _finished(folder: Path) -> list[tuple[str, dict[int, bytes]]]:
    """Facts and pictures by attempt, the goal's at −1, of all finished sessions."""
    if not (folder / DATABASE).is_file():
        raise FileNotFoundError(f"no study with people in {folder}")
    other = Store(folder, lambda log: False)
    try:
        sources = []
        for person, log in other.logs().items():
            plan = log.get((NO_SESSION, "assigned", 0), {})
            if (NO_SESSION, "failed", 0) in log or "explore" in plan:
                continue
            for session in range(len(plan.get("cells", ()))):
                if (session, "finished", 0) in log and (shown := held(log, session)):
                    pictures = {i: other.picture(person, session, *where) for i, where in enumerate(shown)}
                    pictures[GOAL] = other.picture(person, session, GOAL, 0)
                    facts = json.dumps(asdict(_source(log, person, session, shown)))
                    sources.append((facts, {place: png for place, png in pictures.items() if png}))
        return sources
    finally:
        other.close()


def held(log: Log, session: int) -> list[tuple[int, int]]:
    """Place and item of the image that the person had at each attempt; none for a session without images."""
    events = sorted(of_session(log, session).items())
    if chosen := [(place, data["choice"]) for (kind, place), data in events if kind == "chosen"]:
        return [(0, 0), *chosen]
    return [
        (place, 0) for (kind, place), made in events if kind == "made" and "similarity" in made and "text" not in made
    ]


def _source(log: Log, person: int, session: int, shown: Sequence[tuple[int, int]]) -> Source:
    events = of_session(log, session)
    facts: dict[str, Any] = (events.get(("begun", 0)) or events["offered", 0])["facts"]
    written = [data["prompt"] for (kind, _), data in sorted(events.items()) if kind == "written"]
    similarities, judged = [], []
    for place, item in shown:
        if made := events.get(("made", place)):
            similarities.append(float(made["similarity"]))
            judged.append(made["judged"])
        else:
            offered = events["offered", place]
            similarities.append(float(offered["similarities"][item]))
            judged.append({name: values[item] for name, values in offered["judged"].items()})
    task = facts["task"]
    return Source(
        f"{PERSON}{person}",
        session,
        task["suite"],
        task["index"],
        **{name: facts[name] for name in ("policy", "mechanism", "generator")},
        prompts=written or [task["prompt"]],
        similarities=similarities,
        judged={name: [float(each[name]) for each in judged] for name in judged[0]},
    )
