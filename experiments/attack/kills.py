"""Runs that are killed outright before a random one of their file operations, again and again, and go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.attack.workers import Outcome, ran
from experiments.run.folder import LEADERBOARD
from steer_env.traces import read_traces

SHORT = ("env.rounds=1", "env.proposals=1")
_OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_AT_MOST, _AT_LEAST = 12, 4
"""Kills of one run before it may end; and how many of all are worth the trouble of another command."""
_VOLATILE = re.compile(r'"(seconds|date|machine)": [^\n]*|\d+ +\|$', re.MULTILINE)


@dataclass(frozen=True)
class Victim:
    """A run that is killed.

    Args:
        command: its name.
        options: of it, but for the folder.
        exact: whether a killed run must end as one that wasn't; else each episode must be played once.
        weight: share of the kills.
    """

    command: str
    options: tuple[str, ...]
    exact: bool = True
    weight: float = 1.0


VICTIMS = (
    Victim("train", ("agent=thompson", "episodes=24", "batch=1", *SHORT), weight=3),
    Victim("train", ("agent=planning", "episodes=24", "batch=1", *SHORT), weight=3),
    Victim(
        "train",
        ("agent=ppo", "agent.settings.n_steps=4", "agent.settings.batch_size=4", "episodes=32", "batch=2", *SHORT),
        exact=False,
    ),
    Victim(
        "evaluate", ("policies=[random-bucket,published]", "tasks=8", "tasks_per_batch=2", "strips=0", *SHORT), weight=2
    ),
    Victim(
        "leaderboard",
        (
            *("policies=[random-bucket,published]", "tasks=6", "tasks_per_batch=2", "resamples=20", "timed_tasks=1"),
            *("robust_human=softmax", "strips=0", "claim=true", *SHORT),
        ),
    ),
)


def attack(folder: Path, number: int, seed: int) -> tuple[int, list[str]]:
    """Kill runs so often in all, and compare each with one that was left alone."""
    rng, failures, killed = np.random.default_rng(seed), list[str](), 0
    victims = VICTIMS[: max(1, number // _AT_LEAST)]
    total = sum(victim.weight for victim in victims)
    for place, victim in enumerate(victims):
        own = folder / f"victim-{place}"
        own.mkdir(parents=True)
        outcome, operations = _run(victim, own / "whole", own / "whole-log", 0)
        if outcome.status:
            failures.append(f"{victim.command} {victim.options[0]}: it doesn't run at all: {outcome}")
            continue
        goal, chain = round(number * victim.weight / total), 0
        while goal > 0:
            chain += 1
            kills, complaint = _chain(victim, own, chain, min(goal, _AT_MOST), operations, rng)
            goal, killed = goal - max(kills, 1), killed + kills
            if complaint:
                failures.append(f"{victim.command} {victim.options[0]}, run {chain}, {kills} kills: {complaint}")
    return killed, failures


def _chain(
    victim: Victim, own: Path, chain: int, most: int, operations: int, rng: np.random.Generator
) -> tuple[int, str]:
    """One run, killed at most so often before it may end; how often it was, and what is wrong with it then."""
    run, log, kills = own / f"run-{chain}", own / f"log-{chain}", 0
    while kills < most:
        # Soon enough that a run is killed several times, and late enough that it gets on.
        outcome, _ = _run(victim, run, log, int(rng.integers(1, max(2, operations // 2))))
        if outcome.status != -signal.SIGKILL:
            break
        kills += 1
    else:
        outcome, _ = _run(victim, run, log, 0)
    complaint = str(outcome) if outcome.status else difference(own / "whole", run, victim.exact)
    if not complaint:
        shutil.rmtree(run)
    return kills, complaint


def _run(victim: Victim, run: Path, log: Path, fatal: int) -> tuple[Outcome, int]:
    """Start the run, or go on with it, to its end or until it is killed; and how many files it touched."""
    counter = log.with_name(f"{log.name}.count")
    counter.unlink(missing_ok=True)
    outcome = ran(victim.command, [f"folder={run}", *victim.options], log, lambda: _kill_at(fatal, run, counter))
    return outcome, counter.stat().st_size if counter.exists() else 0


def _kill_at(fatal: int, run: Path, counter: Path) -> None:
    """Count operations on files in the run's folder, and kill this process before that one; 0 for never."""
    count, place = 0, str(run.resolve())
    record = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event: str, details: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            counted = isinstance(details[2], int) and bool(details[2] & _WRITING)
        else:
            counted = event in _OPERATIONS
        if not counted or not any(place in os.fsdecode(path) for path in details if isinstance(path, str | bytes)):
            return
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(record, b".")

    sys.addaudithook(hook)


def difference(whole: Path, run: Path, exact: bool = True) -> str:
    """What a run left otherwise than one that was left alone; if not exact, of episodes' tasks and seeds."""
    parts = sorted({path.parent.relative_to(whole) for path in whole.rglob("*.parquet")})
    for part in parts:
        one, other = (read_traces(folder / part) for folder in (whole, run))
        played = [[(each.policy, each.task_index, each.episode_seed) for each in traces] for traces in (one, other)]
        if played[0] != played[1]:
            return f"{part} has {len(other)} episodes in place of {len(one)}, or others"
        if exact and one != other:
            return f"episodes in {part} went otherwise"
    names = ("policy/policy.json", "result.json", "report.md", LEADERBOARD, "checkpoint.json")
    for name in names if exact else ():
        texts = [_steady(folder / name) for folder in (whole, run)]
        if texts[0] != texts[1]:
            return f"{name} differs"
    return "" if _claims(whole) == _claims(run) else "claims differ"


def _steady(path: Path) -> str:
    """A file's text without wall times and dates."""
    return _VOLATILE.sub("", path.read_text()) if path.is_file() else ""


def _claims(folder: Path) -> Sequence[Any]:
    return [json.loads(path.read_text()) for path in sorted((folder / "claims").glob("*.json"))]
