"""Bits that flip, and files that end early, in what runs leave: refused by name, or of no consequence."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.attack.kills import SHORT, difference
from experiments.attack.workers import Outcome, ran
from steer_env.policies import TablePolicy

_TRAIN = ("agent=thompson", "episodes=16", "batch=2", *SHORT)
_PPO = ("agent=ppo", "agent.settings.n_steps=4", "agent.settings.batch_size=4", "batch=2", *SHORT)
_TABLE = ("tasks=4", "tasks_per_batch=2", "strips=0", *SHORT)


@dataclass(frozen=True)
class Target:
    """Files of a run that was stopped, and the command that goes on with it.

    Args:
        files: pattern of what is damaged, in the folder.
        command, options: what goes on; ``RUN`` in them is the folder.
        run: where in the folder the run is.
        exact: see :func:`experiments.attack.kills.difference`.
    """

    files: str
    command: str
    options: tuple[str, ...]
    run: str = "run"
    exact: bool = True


TARGETS = (
    Target("run/checkpoint.json", "train", ("folder=RUN/run", *_TRAIN)),
    Target("run/traces/*.parquet", "train", ("folder=RUN/run", *_TRAIN)),
    Target("run/checkpoint.pt", "train", ("folder=RUN/run", "episodes=32", *_PPO), exact=False),
    Target("table/traces/*.parquet", "evaluate", ("folder=RUN/table", "policies=[random-bucket]", *_TABLE), "table"),
    Target("sent/policy.json", "evaluate", ("folder=RUN/table", "policies=[random-bucket,RUN/sent]", *_TABLE), "table"),
    Target("bank/*/*.safetensors", "train", ("folder=RUN/run", "env.goal_bank=RUN/bank", *_TRAIN)),
)


def attack(folder: Path, number: int, seed: int) -> tuple[int, list[str]]:
    """Damage files so often, by single bits and early ends, go on, and compare with what came of undamaged ones."""
    rng, failures, tried = np.random.default_rng(seed), list[str](), 0
    targets = TARGETS[:number]
    for place, target in enumerate(targets):
        own = folder / f"target-{place}"
        own.mkdir(parents=True)
        if complaint := _prepare(target, own):
            failures.append(f"{target.files}: it can't be tried: {complaint}")
            continue
        for turn in range(-(-number // len(targets))):
            tried += 1
            trial = own / "trial"
            shutil.rmtree(trial, ignore_errors=True)
            shutil.copytree(own / "half", trial)
            harm = _damaged(trial, target.files, rng, turn % 2 == 0)
            outcome = _go_on(target, trial, own / f"log-{turn}")
            if complaint := _complaint(target, own, trial, outcome, harm):
                failures.append(f"{harm}: {complaint}")
    return tried, failures


def _prepare(target: Target, own: Path) -> str:
    """``half``, which has a run that didn't end, and ``whole``, the same gone on with."""
    # Always in the same place: a run's configuration names its policies by their paths.
    trial = own / "trial"
    TablePolicy("sent", np.full((4, 2), 0.3), 5).save(trial / "sent")
    outcome = _go_on(target, trial, own / "begin", "episodes=8" if target.command == "train" else "tasks=2")
    if outcome.status:
        return str(outcome)
    for name in ("result.json", "policy/policy.json"):
        (trial / target.run / name).unlink(missing_ok=True)
    shutil.copytree(trial, own / "half")
    outcome = _go_on(target, trial, own / "end")
    trial.rename(own / "whole")
    return str(outcome) if outcome.status else ""


def _go_on(target: Target, folder: Path, log: Path, *further: str) -> Outcome:
    # Of an option that is there twice, the last counts.
    options = [option.replace("RUN", str(folder)) for option in (*target.options, *further)]
    return ran(target.command, options, log)


def _damaged(folder: Path, files: str, rng: np.random.Generator, bit: bool) -> str:
    """Damage one file; which, and how."""
    paths = sorted(folder.glob(files))
    path = paths[rng.integers(len(paths))]
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if bit:
        content[place] ^= 1 << int(rng.integers(8))
    else:
        del content[place:]
    path.write_bytes(content)
    return f"{path.relative_to(folder)} {'flipped' if bit else 'cut'} at {place}"


def _complaint(target: Target, own: Path, trial: Path, outcome: Outcome, complaint: str) -> str:
    name = complaint.split(" ")[0]
    if outcome.refusal:
        return "" if str(trial / name) in outcome.refusal else f"refused without its name: {outcome.refusal[:200]}"
    if outcome.status:
        return str(outcome)
    return difference(own / "whole" / target.run, trial / target.run, target.exact)
