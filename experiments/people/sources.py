"""What annotators rate: finished sessions of a study, copied with their images into the rating study's database."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from experiments.people.log import DATABASE, GOAL, Store
from experiments.people.sessions import Events, Session, ended
from experiments.people.study import Study


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
    """Copy what is to be rated, once, and give it to the study; a condition's folder must have finished sessions."""
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
    sources = []
    with closing(Store(folder, lambda log: False)) as other:
        for session in sorted(ended(other), key=lambda each: (each.person, each.number)):
            if shown := held(session.events):
                where = {GOAL: (GOAL, 0), **dict(enumerate(shown))}
                pictures = {i: other.picture(session.person, session.number, *place) for i, place in where.items()}
                facts = json.dumps(asdict(_source(session)))
                sources.append((facts, {place: png for place, png in pictures.items() if png}))
    return sources


def held(events: Events) -> list[tuple[int, int]]:
    """Place and item of the image that the person had at each attempt; none for a session without images."""
    ordered = sorted(events.items())
    if chosen := [(place, data["choice"]) for (kind, place), data in ordered if kind == "chosen"]:
        return [(0, 0), *chosen]
    return [(place, 0) for (kind, place), made in ordered if kind == "made" and "text" not in made]


def _source(session: Session) -> Source:
    trace = session.trace
    return Source(
        trace.human,
        session.number,
        *(trace.suite, trace.task_index, trace.policy, trace.mechanism, trace.generator),
        prompts=list(trace.prompts) or [trace.prompt],
        similarities=list(trace.similarities),
        judged={name: list(values) for name, values in trace.judged.items()},
    )
