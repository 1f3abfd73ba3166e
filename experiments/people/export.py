"""What comes out: traces, as simulated users leave them, from the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from experiments.people.answers import TIMINGS
from experiments.people.log import DATABASE, GOAL, NO_SESSION, Log, Store, of_session
from experiments.people.screens import SCALES, screen_of
from experiments.people.sources import Source, prepare
from experiments.people.study import Condition, Study
from experiments.run import Run, say
from experiments.run.evaluations import on_common_tasks
from experiments.run.headlines.tasks import prompt_for
from steer_env.evaluation.ratings import COLUMNS, ratings_sections
from steer_env.evaluation.reports import Report, steering_report
from steer_env.files import write_atomically
from steer_env.traces import PERSON, SteeringTrace, traces_to_frame, write_traces
from steer_env.types import Task


def export(study: Study, run: Run) -> None:
    """Write all that is in a study's folder beside it: traces, tables, and the report. The study can still go on."""
    if not (run.folder / DATABASE).is_file():
        raise FileNotFoundError(f"no study with people in {run.folder}")
    with closing(Store(run.folder, lambda log: screen_of(log, study).waits)) as store:
        prepare(study, store)
        traces, tables, report = traces_of(study, store), tables_of(study, store), report_of(study, store)
    if traces:
        write_traces(traces, run.folder / "traces" / "people.parquet")
    for name, table in tables.items():
        write_atomically(run.folder / f"{name}.csv", table.to_csv(index=False))
        if name in ("rounds", "ratings"):
            write_atomically(run.folder / f"{name}.parquet", table.to_parquet())
    run.publish(report)
    say(f"{len(traces)} sessions and {len(tables['ratings'])} ratings")


def tables_of(study: Study, store: Store) -> dict[str, pd.DataFrame]:
    """By name: ``traces``; ``rounds``, one row a choice; ``ratings``, one row an answer; and ``people``."""
    sessions = finished(study, store)
    traces = traces_to_frame(traces_of(study, store))
    ratings = [row for session in sessions if session.condition.kind == "ratings" for row in _ratings(study, session)]
    further = dict.fromkeys(name for row in ratings for name in row if name not in RATINGS)
    rounds = [row for session in sessions if session.condition.kind == "images" for row in _rounds(session)]
    people = [
        {"person": f"{PERSON}{person}", "sessions": sum(key[1] == "finished" for key in log), **store.platform(person)}
        for person, log in store.logs().items()
        if "explore" not in log.get((NO_SESSION, "assigned", 0), {})
    ]
    return {
        "traces": traces,
        "rounds": pd.DataFrame(rounds, columns=ROUNDS),
        "ratings": pd.DataFrame(ratings, columns=[*RATINGS, *further]),
        "people": pd.DataFrame(people, columns=None if people else ["person", "sessions"]),
    }


ROUNDS = [
    *("person", "session", "condition", "policy", "mechanism", "suite", "task_index", "round", "scale", "propensity"),
    *("stayed_before", "choice", "position", "order", "similarities", "at", *TIMINGS),
]
"""Columns of ``rounds``."""
RATINGS = [
    *(*COLUMNS, "duplicate", "suite", "task_index", "policy", "mechanism", "generator", "position", "at"),
    *TIMINGS,
]
"""Columns of ``ratings``; further ones are the similarities by other metrics."""


def _rounds(session: Session) -> list[dict[str, Any]]:
    """One row a round: what was offered, with which chance, and what was chosen."""
    rows, facts = [], session.events["offered", 0]["facts"]
    for place in range(session.condition.steps):
        offered, chosen = session.events["offered", place], session.events["chosen", place]
        own = {"person": session.human, "session": session.number, "condition": session.condition.spec}
        own |= {"suite": facts["task"]["suite"], "task_index": facts["task"]["index"], "round": place + 1}
        own |= {name: facts[name] for name in ("policy", "mechanism")}
        own |= {name: offered[name] for name in ("scale", "propensity", "order", "similarities")}
        own["stayed_before"] = bool(place) and session.events["chosen", place - 1]["choice"] == 0
        rows.append(own | {name: chosen.get(name) for name in ("choice", "position", "at", *TIMINGS)})
    return rows


def _ratings(study: Study, session: Session) -> list[dict[str, Any]]:
    """One row an answer: each value of a scale; or of two images, whether the last one, or the goal, was picked."""
    rows, options = [], session.condition.options
    for place in range(session.condition.steps):
        rated = session.events["rated", place]
        source: Source = study.sources[session.cell[0]][rated["source"]]
        names = ("suite", "task_index", "policy", "mechanism", "generator")
        facts = {
            **{name: getattr(source, name) for name in ("item", "person", *names)},
            **{name: rated.get(name) for name in ("at", *TIMINGS)},
            "rater": session.human,
            "question": rated["question"],
        }
        judged = {f"similarity {name}": values for name, values in source.judged.items()}
        similarities = {"similarity": source.similarities, **judged}
        answers = list(enumerate(zip(rated["attempts"], rated["values"], strict=True)))
        if rated["question"] not in SCALES:
            last = source.attempts - 1
            shown = last if rated["question"] == "improvement" else GOAL
            own: dict[str, Any] = {"attempt": 0 if options.attempt == "first" else last, "duplicate": False}
            if rated["question"] == "prompt":
                own["question"] = "POM-1" if options.attempt == "first" else f"POM-{OF_FIVE}"
            if rated["question"] == "improvement":
                own |= {name: values[last] - values[0] for name, values in similarities.items()}
            rows += [{**facts, **own, "value": v, "position": p} for p, (attempt, v) in answers if attempt == shown]
            continue
        for position, (attempt, value) in answers:
            own = {"attempt": attempt, "duplicate": attempt == GOAL, "value": value}
            own |= {name: 1.0 if attempt == GOAL else values[attempt] for name, values in similarities.items()}
            rows.append({**facts, **own, "position": position})
    return rows


OF_FIVE = 5
"""What the paper calls the last attempt."""


def progress_table(study: Study, store: Store, assigned: Mapping[tuple[int, int], int]) -> pd.DataFrame:
    """One row a condition: sessions finished, going on, and still to be given."""
    done = Counter(session.cell[0] for session in finished(study, store))
    held: Counter[int] = Counter()
    for (condition, _), count in assigned.items():
        held[condition] += count
    rows = []
    for place, each in enumerate(study.conditions):
        counts = (done[place], max(0, held[place] - done[place]), max(0, study.options.goals - held[place]))
        rows.append((each.spec, *counts))
    return pd.DataFrame(rows, columns=["condition", "finished", "going on", "free"])


def report_of(study: Study, store: Store) -> Report:
    """The usual report of each kind of session, and tables of the ratings."""
    sections = []
    for traces in comparable(traces_of(study, store)):
        names = [trace.policy for trace in traces]
        sections += steering_report(traces, names[0], 0.8).sections
    ratings = tables_of(study, store)["ratings"]
    if len(judged := ratings[~ratings["duplicate"].astype(bool)]):
        sections += ratings_sections(judged.astype({"similarity": float}))
    return Report(
        "A study with people", "Sessions that are finished; of goals that every condition has played.", sections
    )


def comparable(traces: Sequence[SteeringTrace]) -> list[list[SteeringTrace]]:
    """Traces that one report can hold: of one suite and length, on the goals that all of its policies have played."""
    groups: dict[Any, list[SteeringTrace]] = {}
    for trace in traces:
        key = (trace.suite, trace.generator, trace.metric, len(trace.similarities), bool(trace.texts))
        groups.setdefault(key, []).append(trace)
    files = []
    for group in groups.values():
        varying = len({trace.mechanism for trace in group if not trace.prompts}) > 1
        named = [replace(t, policy=f"{t.policy}, {t.mechanism}") if varying and not t.prompts else t for t in group]
        common = on_common_tasks(named)
        if len({trace.task_index for trace in common}) > 1:
            files.append(common)
    return files


def traces_of(study: Study, store: Store) -> list[SteeringTrace]:
    """Of all finished sessions of steering, in the order in which they ended; one of each cell."""
    return [session.trace() for session in once(finished(study, store)) if session.condition.kind in _KINDS]


class Ended(NamedTuple):
    """A finished session: whose, which of the person's, from 0, and the condition and goal that were assigned."""

    person: int
    number: int
    cell: tuple[int, int]


@dataclass(frozen=True)
class Session:
    """A finished one, of a person who didn't fail the checks of attention.

    Args:
        person, number: whose, and which of the person's, from 0.
        condition, cell: what was assigned.
        events: kind and place → data.
    """

    person: int
    number: int
    condition: Condition
    cell: tuple[int, int]
    events: Mapping[tuple[str, int], Mapping[str, Any]]

    @property
    def human(self) -> str:
        """What traces and tables call the person."""
        return f"{PERSON}{self.person}"

    def trace(self) -> SteeringTrace:
        """Of a session of steering."""
        facts = dict((self.events.get(("begun", 0)) or self.events["offered", 0])["facts"])
        task = Task(**facts.pop("task"))
        if written := self.events.get(("written", 0)):
            task = replace(task, prompt=written["prompt"])
        return SteeringTrace.of(task, human=self.human, **{**facts, **_KINDS[self.condition.kind](self)})


def ended(store: Store) -> list[Ended]:
    """Sessions that count, in the order in which they ended; not of people who failed the checks of attention."""
    plans = {plan.person: plan for plan in store.plans() if not plan.failed}
    counted = [(plans[person], number) for person, number in store.ended() if person in plans]
    return [Ended(plan.person, number, plan.cells[number]) for plan, number in counted]


def once(sessions: Sequence[Any]) -> list[Any]:
    """Of a cell that two people played, the first one's session."""
    firsts: dict[tuple[int, int], Any] = {}
    for session in sessions:
        firsts.setdefault(session.cell, session)
    return list(firsts.values())


def session_of(study: Study, which: Ended, log: Log) -> Session:
    """A finished session, with all that happened in it."""
    condition = study.conditions[which.cell[0]]
    return Session(which.person, which.number, condition, which.cell, of_session(log, which.number))


def finished(study: Study, store: Store) -> list[Session]:
    """Those of :func:`ended`."""
    counting, logs = ended(store), store.logs()
    return [session_of(study, each, logs[each.person]) for each in counting if logs.get(each.person)]


def _images(session: Session) -> dict[str, Any]:
    events, rounds = session.events, session.condition.steps
    offers = [events["offered", place] for place in range(rounds)]
    choices = [events["chosen", place]["choice"] for place in range(rounds)]
    return {
        "scales": [offer["scale"] for offer in offers],
        "choices": choices,
        "similarities": _held([offer["similarities"] for offer in offers], choices),
        "judged": {name: _held([offer["judged"][name] for offer in offers], choices) for name in offers[0]["judged"]},
        "propensities": [offer["propensity"] for offer in offers],
        **{name: offers[-1].get(name) for name in ("images", "passes")},
    }


def _held(shown: list[list[float]], choices: list[int]) -> list[float]:
    """Of the first image, and of each that was gone on with."""
    return [shown[0][0], *(values[choice] for values, choice in zip(shown, choices, strict=True))]


def _texts(session: Session) -> dict[str, Any]:
    events, attempts = session.events, session.condition.steps
    made = [events["made", place] for place in range(attempts)]
    written = [events["written", place] for place in range(attempts)]
    prompts = [event["prompt"] for event in written]
    if original := events["begun", 0].get("original"):
        prompts = [prompt_for(original, prompt) for prompt in prompts]
    chosen = {"seeds": "seed", "guidance": "guidance"}
    return {
        "prompts": prompts,
        "similarities": [event["similarity"] for event in made],
        "judged": {name: [event["judged"][name] for event in made] for name in made[0]["judged"]},
        **{field: [event[name] for event in written] for field, name in chosen.items() if name in written[0]},
        **({"texts": [event["text"] for event in made]} if "text" in made[0] else {}),
        **{name: made[-1][name] for name in ("images", "passes") if name in made[-1]},
    }


_KINDS = {"images": _images, "text": _texts, "headlines": _texts}
