"""Playing an entry: fresh tasks and noise, three users, a second metric, and a report that says all of it."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from experiments.board.entries import TRACKS, Entry
from steer_env.evaluation.uncertainty import estimate
from steer_env.files import seal, write_atomically
from steer_env.traces import SteeringTrace

USERS: Mapping[str, str] = {
    "greedy": "greedy",
    "hesitant": "hesitant:threshold=0.015",
    "noisy": "softmax:temperature=0.05",
}
"""The paper's, one who stays as often as people do, and one who errs."""
JUDGE = "pixel-correlation"
ANCHOR = "random-bucket"
"""Played on the same tasks with the same noise by the mixture, so that reports of different tasks can be compared."""
TASKS_PER_BATCH = 16
STRIPS = 3


def verify(entries: Sequence[Entry], reports: Path, tasks: int, private: str = "") -> list[str]:
    """Play entries on one draw of tasks and noise, and write a report of each.

    Args:
        entries: none of which has a report.
        reports: folder of the reports.
        tasks: how many are drawn.
        private: file of further tasks; empty for none.

    Returns:
        Names of what was verified.

    Raises:
        FileExistsError: an entry has a report: it was played before, and would only have another try.
    """
    for entry in entries:
        if (reports / f"{entry.identity}.json").exists():
            raise FileExistsError(f"{entry.name!r} was verified before, see {reports}/{entry.identity}.json")
    if not entries:
        return []
    drawn = {"tasks": secrets.randbits(48), "noise": 1 + secrets.randbits(31)}
    with TemporaryDirectory() as place:
        suite = Path(place) / "tasks.csv"
        write_atomically(suite, fresh_tasks(drawn["tasks"], tasks))
        anchors: dict[tuple[str, str], list[SteeringTrace]] = {}
        for entry in entries:
            played = _played(entry, f"csv:{suite}", tasks, drawn["noise"], anchors)
            hidden = _played_privately(entry, private, drawn["noise"], anchors) if private else None
            _write(entry, reports, drawn, tasks, played, hidden, f"csv:{suite}")
    return [f"{entry.name} ({entry.track})" for entry in entries]


def fresh_tasks(seed: int, tasks: int) -> str:
    """Tasks that no submission has seen, from a seed that the report tells: CSV as CSVSuite reads it."""
    from steer_env.tasks import TileSuite

    file = io.StringIO()
    writer = csv.writer(file)
    columns = ("goal_prompt", "prompt", "goal_seed", "initial_seed")
    writer.writerow(columns)
    for task in TileSuite("fresh", "test", tasks, seed):
        writer.writerow([getattr(task, name) for name in columns])
    return file.getvalue()


def _played(
    entry: Entry, suite: str, tasks: int, noise: int, anchors: dict[tuple[str, str], list[SteeringTrace]]
) -> dict[str, tuple[list[SteeringTrace], list[SteeringTrace]]]:
    """By user, the episodes of an entry and of the anchor; who writes prompts is one's own user."""
    track, found = TRACKS[entry.track], {}
    for user, human in USERS.items() if track.mechanism else (("greedy", "greedy"),):
        if (suite, user) not in anchors:
            from steer_env.policies.names import load_policy

            anchors[suite, user] = _episodes(load_policy(ANCHOR), suite, "mixture", human, tasks, noise)
        own = _episodes(entry.policy, suite, track.mechanism or "mixture", human, tasks, noise)
        found[user] = (own, anchors[suite, user])
    return found


def _played_privately(
    entry: Entry, private: str, noise: int, anchors: dict[tuple[str, str], list[SteeringTrace]]
) -> dict[str, tuple[list[SteeringTrace], list[SteeringTrace]]]:
    from steer_env.tasks import load_suite

    return _played(entry, f"csv:{private}", len(load_suite(f"csv:{private}")), noise, anchors)


def _episodes(policy: Any, suite: str, mechanism: str, human: str, tasks: int, noise: int) -> list[SteeringTrace]:
    from steer_env.evaluation.suites import evaluate

    batches = evaluate(
        [policy], tasks, TASKS_PER_BATCH, noise=noise, suite=suite, mechanism=mechanism, human=human, judges=[JUDGE]
    )
    return [trace for batch in batches for trace in batch]


def _write(
    entry: Entry,
    reports: Path,
    drawn: Mapping[str, int],
    tasks: int,
    played: Mapping[str, tuple[list[SteeringTrace], list[SteeringTrace]]],
    hidden: Mapping[str, tuple[list[SteeringTrace], list[SteeringTrace]]] | None,
    suite: str,
) -> None:
    from steer_env.evaluation.rollout import VERSIONS
    from steer_env.policies import StoredPolicy

    own = played["greedy"][0]
    policy = entry.policy
    report: dict[str, Any] = {
        "identity": entry.identity,
        "track": entry.track,
        "name": entry.name,
        "reference": entry.card is None,
        "card": entry.card,
        "policy": policy.record() if isinstance(policy, StoredPolicy) else None,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "drawn": dict(drawn),
        "tasks": tasks,
        "generator": own[0].generator,
        "metric": own[0].metric,
        "mechanism": own[0].mechanism,
        "versions": dict(VERSIONS),
        "users": {user: numbers(*both) for user, both in played.items()},
        "private": {user: numbers(*both) for user, both in hidden.items()} if hidden else None,
        "images": _mean([trace.images for trace in own]),
        "passes": _mean([trace.passes for trace in own]),
        "attempts": np.mean([trace.similarities for trace in own], axis=0).round(5).tolist(),
    }
    _draw(entry, own, suite, reports)
    # Last: what has a report isn't played again.
    text = _json({**report, "seal": seal(report)})
    write_atomically(reports / f"{entry.identity}.json", text)


def numbers(own: Sequence[SteeringTrace], anchor: Sequence[SteeringTrace]) -> dict[str, Any]:
    """Means with standard errors over tasks: the change, its difference to the anchor, and under the second metric."""
    gains, others = (np.array([trace.improvement for trace in traces]) for traces in (own, anchor))
    judged = np.array([trace.judged[JUDGE][-1] - trace.judged[JUDGE][0] for trace in own])
    measured = {"gain": gains, "over_anchor": gains - others, "improved": (gains > 0).astype(float), JUDGE: judged}
    means = {name: estimate(values) for name, values in measured.items()}
    return {"human": own[0].human} | {name: [each.value, each.error] for name, each in means.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _draw(entry: Entry, traces: Sequence[SteeringTrace], suite: str, reports: Path) -> None:
    from functools import partial

    from experiments.run.playing import draw_examples

    options = {"suite": suite, "rounds": 4}
    if TRACKS[entry.track].mechanism:
        options["mechanism"] = TRACKS[entry.track].mechanism
    for number, figure in enumerate(draw_examples(traces, traces[0].policy, STRIPS, options)):
        save = partial(figure.savefig, format="png", dpi=70)
        write_atomically(reports / "strips" / f"{entry.identity[:16]}-{number}.png", save)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, indent=1) + "\n"
