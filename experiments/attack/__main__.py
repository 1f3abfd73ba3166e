"""Attack the project: ``python -m experiments.attack folder=outputs/attack``; see docs/reliability.md."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.run import Run, RunOptions, command, option, say
from steer_env.evaluation.reports import Report, Section

_KINDS = {
    "wrong": ("Wrong options of all commands", "one line, exit status 2, no folder"),
    "kills": ("SIGKILL before a random file operation", "nothing lost, doubled or different"),
    "strangers": (
        "Hostile submissions to verify, evaluate and leaderboard",
        "nothing touched or run, no board stopped",
    ),
    "damage": ("Flipped bits and cut files", "refused by name, or of no consequence"),
    "state": ("The same command in a process that others have changed", "the same numbers"),
    "parsers": ("Fuzzed foreign files", "only errors of one line"),
    "combinations": ("Combinations of parts", "each runs, or is refused in one line"),
}
"""A module of this folder for each kind, in which attack(folder, number, seed) tries so often, in an empty folder; it
returns how often it did, and what failed. Here, the kind in words, and what should hold."""
_SOAK = ("Train and evaluate again and again in one process", "memory, descriptors and threads flat")


@dataclass
class SoakOptions:
    """Commands again and again in one process, whose memory, descriptors and threads should stay as they are.

    Args:
        minutes: how long; 0 for none.
        share: of a core, at most.
    """

    minutes: float = option(0.0, least=0, most=100_000)
    share: float = option(1.0, least=0.01, most=1)


@dataclass
class AttackOptions(RunOptions):
    """Try to break what the project promises, and count what fails. The exit status is 1 if anything does.

    A failure is a traceback, a wrong option that is taken, a folder that is left, a file that a submission touches, a
    board that it stops, an episode that a kill loses or doubles, a damaged file that is read, or a number that depends
    on what else the process did.

    Args:
        kinds: of attacks: wrong options, submissions of strangers, kills, damage to files, the state of the process,
            parsers of foreign files, and combinations of parts.
        wrong: how many options of commands, of all that can be made from their declarations.
        strangers: how many submissions.
        kills: how many.
        damage: how many flipped bits and cut files.
        state: how many pairs of a command and a mess in the process.
        parsers: seconds of fuzzing for each parser.
        combinations: how many of all; there are less than 2,000.
        lanes: processes at a time, each with kinds of its own.
        seed: of what is drawn.
        soak: a long run, beside the kinds.
    """

    kinds: list[str] = option(list(_KINDS), among=tuple(_KINDS), unique=True)
    wrong: int = option(320, least=1)
    strangers: int = option(240, least=1)
    kills: int = option(210, least=1)
    damage: int = option(120, least=1)
    state: int = option(30, least=1)
    parsers: float = option(10.0, least=0)
    combinations: int = option(100, least=1)
    lanes: int = option(2, least=1, most=64)
    seed: int = option(0, least=0)
    soak: SoakOptions = field(default_factory=SoakOptions)


@command(AttackOptions)
def main(options: AttackOptions, run: Run) -> dict[str, Any]:
    """Try each kind in forks of a process that has imported everything, and leave a table."""
    import matplotlib as mpl

    from experiments.attack.workers import warm

    folder = run.open()
    mpl.use("agg")
    warm()
    results = _in_lanes(options, folder.resolve() / "tries")
    figures: list[Any] = []
    if options.soak.minutes:
        results["soak"], figures = _soaked(options.soak, folder)
    for kind, result in results.items():
        for failure in result["failures"]:
            say(f"{kind}: {failure}")
    run.publish(_report(results, figures))
    run.status = int(any(result["failures"] for result in results.values()))
    return {kind: {**result, "failures": len(result["failures"])} for kind, result in results.items()}


def _in_lanes(options: AttackOptions, folder: Path) -> dict[str, Any]:
    """By kind: how often it was tried, what failed, and how long it took."""
    from experiments.attack.workers import forked

    folder.mkdir(parents=True, exist_ok=True)
    children = []
    for place in range(options.lanes):
        child = os.fork()
        if not child:
            lane = partial(_lane, options.kinds[place :: options.lanes], options, folder)
            outcome = forked(lane, folder / f"lane-{place}", seconds=100_000)
            os._exit(outcome.status & 255)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    results = {}
    for kind in options.kinds:
        path = folder / f"{kind}.json"
        broken = {"tried": 0, "failures": [f"the attack itself failed, see {folder}"], "seconds": 0.0}
        results[kind] = json.loads(path.read_text()) if path.is_file() else broken
    assert all(status == 0 for status in statuses) or any(result["failures"] for result in results.values())
    return results


def _lane(kinds: Sequence[str], options: AttackOptions, folder: Path) -> None:
    for kind in kinds:
        start, attack = time.monotonic(), import_module(f"experiments.attack.{kind}").attack
        tried, failures = attack(folder / kind, getattr(options, kind), options.seed)
        result = {"tried": tried, "failures": failures, "seconds": round(time.monotonic() - start, 1)}
        (folder / f"{kind}.json").write_text(json.dumps(result, indent=1))


def _soaked(options: SoakOptions, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    from experiments.attack.soak import curve, grown, soak

    samples = soak(options.minutes, options.share, folder)
    result = {"tried": len(samples), "failures": grown(samples), "seconds": 60 * float(samples["minutes"].iloc[-1])}
    return result, [curve(samples)]


def _report(results: Mapping[str, Any], figures: list[Any]) -> Any:
    import pandas as pd

    rows, failed = [], []
    for kind, result in results.items():
        title, holds = _KINDS.get(kind, _SOAK)
        row = {"kind": title, "tried": result["tried"], "failed": len(result["failures"]), "what holds": holds}
        command = f"python -m experiments.attack kinds=[{kind if kind in _KINDS else ''}]"
        rows.append({**row, "seconds": f"{result['seconds']:.0f}", "command": command})
        if result["failures"]:
            failed.append(Section(title, "", [pd.DataFrame({"failure": result["failures"]})]))
    sections = [Section("Attacks", "", [pd.DataFrame(rows)], figures=figures), *failed]
    return Report("Reliability", "What was tried against the project, and what of it failed.", sections)


if __name__ == "__main__":
    main()
