"""The attacks of docs/reliability.md, in the small, and whether they would notice a fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.attack import combinations, damage, kills, parsers, strangers, wrong
from experiments.attack.soak import grown
from experiments.attack.workers import Outcome, forked
from tests.test_imports import ROOT

SMALL = ["wrong=6", "strangers=2", "kills=1", "damage=1", "state=1", "parsers=0", "combinations=2", "lanes=1"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="tries are forks")
def test_nothing_that_is_tried_fails(tmp_path: Path) -> None:
    program = [sys.executable, "-W", "ignore", "-m", "experiments.attack", f"folder={tmp_path / 'attack'}", *SMALL]
    ran = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    found = json.loads((tmp_path / "attack" / "result.json").read_text())
    found.pop("versions")
    assert {kind: each["failures"] for kind, each in found.items()} == dict.fromkeys(found, 0)
    assert {kind: each["tried"] for kind, each in found.items()}.items() >= {"wrong": 6, "strangers": 2}.items()
    assert "| Wrong options of all commands" in (tmp_path / "attack" / "report.md").read_text()


def test_every_command_has_wrong_options() -> None:
    found = {command: wrong.wrong_options(command) for command in wrong.commands()}
    assert min(map(len, found.values())) >= 15
    assert sum(map(len, found.values())) >= 1000
    assert "episodes=0" in found["train"]
    assert "mechanism=bayesian mechanism.pool=word" in found["train"]
    assert "policies=[]" in found["leaderboard"]


@pytest.mark.parametrize(
    ("status", "err", "refusal"),
    [
        (2, "error: no\n", "error: no"),
        (2, "Traceback\nerror: no\n", ""),
        (1, "error: no\n", ""),
        (0, "", ""),
        (wrong.ACCEPTED, "", ""),
    ],
)
def test_a_refusal_is_one_line_with_status_2(status: int, err: str, refusal: str) -> None:
    assert Outcome(status, "", err).refusal == refusal


def test_combinations_hold_every_choice() -> None:
    lines = combinations.combinations()
    assert 1500 < len(lines) < 2000
    for choice in ("generator=diffusers", "metric=lpips", "human=mixture", "mechanism=qeubo", "studio=predicted"):
        assert any(choice in options for command, options in lines if command == "evaluate")
    for choice in ("agent=recurrent-ppo", "env.action=proposals", "env.observe=[history]"):
        assert any(choice in options for command, options in lines if command == "train")


def test_submissions_are_of_many_kinds(tmp_path: Path) -> None:
    made = strangers.submissions(tmp_path, 10_000)
    assert len(made) >= 240
    assert len({tuple(sorted(path.name for path in folder.iterdir())) for folder in made}) > 20
    assert not (tmp_path / "evidence").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="an audit hook can't be taken away")
def test_the_watch_sees_what_is_touched_read_and_run(tmp_path: Path) -> None:
    sent, own, log = tmp_path / "sent", tmp_path / "own", tmp_path / "log"
    sent.mkdir()
    own.mkdir()
    (sent / "other.txt").write_text("x")

    def misbehave() -> None:
        strangers.watch([own], sent, os.open(tmp_path / "seen", os.O_WRONLY | os.O_CREAT))
        (own / "good").write_text("x")
        (sent / "bad").write_text("x")
        (sent / "other.txt").read_text()
        os.system("true")

    assert forked(misbehave, log).status == 0
    seen = (tmp_path / "seen").read_text().splitlines()
    assert [line.split(":")[0] for line in seen] == ["touched", "read", "ran"]


def test_one_lost_or_doubled_episode_is_a_difference(tmp_path: Path) -> None:
    from steer_env.traces import read_traces, write_traces

    for name in ("whole", "run"):
        (tmp_path / name / "traces").mkdir(parents=True)
        parsers._traces(tmp_path / name / "traces" / "0.parquet")
    assert kills.difference(tmp_path / "whole", tmp_path / "run") == ""
    traces = read_traces(tmp_path / "run" / "traces")
    write_traces(traces, tmp_path / "run" / "traces" / "1.parquet")
    assert kills.difference(tmp_path / "whole", tmp_path / "run", exact=False).endswith(
        "2 episodes in place of 1, or others"
    )


def test_damage_is_one_bit_or_an_early_end(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a"
    for bit in (True, False):
        path.write_bytes(bytes(100))
        said = damage._damaged(tmp_path, "*", rng, bit)
        changed = sum(byte.bit_count() for byte in path.read_bytes())
        assert (changed, len(path.read_bytes()) < 100) == ((1, False) if bit else (0, True))
        assert said.startswith("a flipped at" if bit else "a cut at")


def test_a_parser_that_fails_is_found(tmp_path: Path) -> None:
    def parser(path: Path) -> None:
        if path.read_bytes() != b"[]":
            raise KeyError("a fault")

    tried, failures = parsers.fuzz("a.json", lambda path: path.read_bytes(), [b"[]"], tmp_path, 0)
    assert tried > 10
    assert failures == []
    assert "KeyError" in parsers.fuzz("a.json", parser, [b"[]"], tmp_path, 0)[1][0]
    with pytest.raises(KeyError):
        parsers.fuzz("a.json", parser, [b"{}"], tmp_path, 0)


def test_growth_is_noticed() -> None:
    flat = pd.DataFrame({"memory": [100.0 + (i < 3) * 5 for i in range(40)], "descriptors": 10, "threads": 4})
    assert grown(flat) == []
    leaking = flat.assign(memory=range(100, 140), descriptors=range(10, 50))
    assert [complaint.split(" ")[0] for complaint in grown(leaking)] == ["memory", "descriptors"]
