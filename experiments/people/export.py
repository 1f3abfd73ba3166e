"""What comes out: traces, as simulated users leave them, from the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pandas as pd

from experiments.people.answers import TIMINGS
from experiments.people.log import DATABASE, GOAL, NO_SESSION, Store
from experiments.people.screens import SCALES, screen_of
from experiments.people.sessions import Session, ended, once
from experiments.people.sources import Source, prepare
from experiments.people.study import Study
from experiments.run import Run, say
from experiments.run.evaluations import on_common_tasks
from steer_env.evaluation.ratings import COLUMNS, ratings_sections
from steer_env.evaluation.reports import Report, steering_report
from steer_env.files import write_atomically
from steer_env.traces import PERSON, SteeringTrace, traces_to_frame, write_traces


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
    traces = traces_to_frame(traces_of(study, store))
    ratings = [row for session in finished(study, store, "ratings") for row in _ratings(study, session)]
    further = dict.fromkeys(name for row in ratings for name in row if name not in RATINGS)
    rounds = [row for session in finished(study, store, "images") for row in _rounds(study, session)]
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


def finished(study: Study, store: Store, *kinds: str) -> list[Session]:
    """Sessions that count, of conditions of these kinds, or of all, in the order in which they ended."""
    sessions = [session for session in ended(store) if session.events]
    return [each for each in sessions if not kinds or study.conditions[each.cell[0]].kind in kinds]


def _rounds(study: Study, session: Session) -> list[dict[str, Any]]:
    """One row a round: what was offered, with which chance, and what was chosen."""
    rows, facts, condition = [], session.events["offered", 0]["facts"], study.conditions[session.cell[0]]
    for place in range(condition.steps):
        offered, chosen = session.events["offered", place], session.events["chosen", place]
        own = {"person": session.human, "session": session.number, "condition": condition.spec}
        own |= {"suite": facts["task"]["suite"], "task_index": facts["task"]["index"], "round": place + 1}
        own |= {name: facts[name] for name in ("policy", "mechanism")}
        own |= {name: offered[name] for name in ("scale", "propensity", "order", "similarities")}
        own["stayed_before"] = bool(place) and session.events["chosen", place - 1]["choice"] == 0
        rows.append(own | {name: chosen.get(name) for name in ("choice", "position", "at", *TIMINGS)})
    return rows


def _ratings(study: Study, session: Session) -> list[dict[str, Any]]:
    """One row an answer: each value of a scale; or of two images, whether the last one, or the goal, was picked."""
    rows, options = [], study.conditions[session.cell[0]].options
    for place in range(options.goals):
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
    done = Counter(session.cell[0] for session in ended(store))
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
    return [session.trace for session in once(finished(study, store, "images", "text", "headlines"))]
