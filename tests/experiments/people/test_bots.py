"""Many people at once, servers and workers that are killed, and what becomes of a study: with bots over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents import live
from experiments.fit_users.people import observed_stays
from experiments.learn import main as learn
from experiments.people.bots import Played, send
from experiments.people.export import comparable, report_of, tables_of, traces_of
from experiments.people.log import DATABASE, Log, Store
from experiments.people.options import BotsOptions
from experiments.people.study import Study
from experiments.run.options import ThompsonOptions
from steer_env.evaluation.leaderboard import Entry, leaderboard_report, tracks
from steer_env.traces import traces_to_frame, write_traces
from tests.experiments.people.conftest import Hall, options_of
from tests.experiments.people.served import Served
from tests.test_imports import ROOT

Open = Callable[..., Hall]
KILLS = int(os.environ.get("STEER_ENV_KILLS", "2"))
"""How often servers and workers are killed; docs/people.md has the result of 30."""


def bots_at(url: str, metric: str = "pixel-correlation", **options: Any) -> Any:
    """All at once; who looks at pixels costs little."""
    return send(BotsOptions(url, at_once=options["people"], **options), metric)


def check_answers(played: list[Played], store: Store) -> None:
    """Is what the log holds what the bots sent: no answer lost, doubled, or another's?"""
    answers = {"consented", "instructed", "chosen", "checked", "written", "rated", "seen", "remarked"}
    for each in played:
        person = store.person(each.path.rpartition("/")[2])
        assert person is not None
        log = store.log(person)
        found = {(session, kind, place) for session, kind, place in log if kind in answers}
        sent = {}
        for step, answer in each.answers.items():
            session, _, kind, place = step.split(".")
            sent[int(session), kind, int(place)] = answer
        assert found == set(sent)
        for key, answer in sent.items():
            if key[1] == "chosen":
                assert log[key]["position"] == int(answer["position"])
                offered = log[key[0], "offered", key[2]]
                assert log[key]["choice"] == offered["order"][log[key]["position"]]
            if key[1] == "written":
                assert log[key]["prompt"] == " ".join(answer["prompt"].split())


def check_like_simulated(log: Log, session: int) -> None:
    """A greedy bot that sees the images alone takes the most similar one, but where two are nearly the same."""
    for (own, kind, place), data in log.items():
        if own == session and kind == "chosen":
            similarities = log[own, "offered", place]["similarities"]
            assert similarities[data["choice"]] >= max(similarities) - 0.02


def test_a_bot_study_is_balanced_and_goes_through_every_report(hall: Open) -> None:
    """Four conditions, a third of the people leave in the middle, and others take their places."""
    specs = "conditions=[images:published,images:random-bucket,images:constant:0.7,text:attempts=3]"
    house = hall(
        specs.replace("text:attempts=3", '"text:attempts=3"'), "env.rounds=2", "sessions=2", "goals=6", "places=8"
    )
    served = Served(house)
    try:
        played = asyncio.run(bots_at(served.url, "tile-perceptual", people=9, drop=1 / 3))
        with house.store.transaction() as db:
            db.execute("UPDATE events SET at = at - 7200")
        played += asyncio.run(bots_at(served.url, "tile-perceptual", people=6, seed=1))
    finally:
        served.close()
    assert sum(each.left for each in played) == 3
    check_answers([each for each in played if not each.left], house.store)
    traces = traces_of(house.study, house.store)
    done = tables_of(house.study, house.store)["traces"].groupby("policy").size()
    assert len(done) == 4
    assert done.max() - done.min() <= 2
    for person, log in house.store.logs().items():
        for session in range(2):
            if (session, "finished", 0) in log:
                check_like_simulated(log, session)
        assert person
    report = report_of(house.study, house.store)
    assert {"Text and image steering (Table 1)", "Similarity at each attempt (Figure 9)"} <= {
        s.title for s in report.sections
    }
    (chosen, *_) = [group for group in comparable(traces) if group[0].scales]
    frame = traces_to_frame(chosen)
    entries = {policy: Entry(0, 1.0) for policy in frame["policy"].unique()}
    rows = [row for track in tracks(frame, None, resamples=20) for row in track.rows(entries)]
    board = leaderboard_report(rows, frame, "", "a test", [], {})
    assert "published" in board.markdown()
    rounds = tables_of(house.study, house.store)["rounds"]
    assert set(rounds.loc[rounds["policy"] == "random bucket", "propensity"]) == {0.1}
    assert set(rounds.loc[rounds["policy"] == "published", "propensity"]) == {1.0}
    assert len(set(observed_stays(traces).conditions)) == 3


def learned(house: Hall) -> Any:
    """What the bandit of the study's first condition knows."""
    house.worker.follow()
    return live.learned(house.folder / "learned" / "0")


def test_a_bandit_that_learns_from_live_sessions_knows_what_their_replay_teaches(hall: Open, command: Any) -> None:
    """Several at once, a server killed and started again between, and a person who takes the sessions back."""
    house = hall('conditions=["images:learn=thompson"]', "sessions=2", "goals=14", "env.rounds=2")
    for seed in range(2):
        served = Served(house)
        try:
            asyncio.run(bots_at(served.url, people=3, seed=seed))
        finally:
            served.close()
        house.again()
    traces = traces_of(house.study, house.store)
    assert len(traces) == 12
    assert {trace.policy for trace in traces} == {"thompson, learning"}
    assert all(0 < chance < 0.5 for trace in traces for chance in trace.propensities)
    settings = vars(ThompsonOptions("any"))
    assert learned(house) == live.replay(traces, settings).state()
    write_traces(traces, house.folder / "traces" / "people.parquet")
    command(learn, f"sessions=[{house.folder}]", f"live={house.folder}/learned/0", f"folder={house.folder}/again")
    assert json.loads((house.folder / "again" / "result.json").read_text())["equals_live"]
    house.store.forget(2)
    fewer = traces_of(house.study, house.store)
    assert len(fewer) == 10
    assert learned(house) == live.replay(fewer, settings).state()


@pytest.mark.slow
def test_fifty_bots_at_once(hall: Open) -> None:
    house = hall("conditions=[images:published,images:random-bucket]", "goals=25", "sessions=1", "env.rounds=1",
                 "places=64", "web.arrivals_per_minute=1000")  # fmt: skip
    served = Served(house)
    try:
        played = asyncio.run(bots_at(served.url, people=50))
    finally:
        served.close()
    check_answers(played, house.store)
    assert len(traces_of(house.study, house.store)) == 50


class Command:
    """The study's command in a process of its own, that can be killed and started again."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.folder = f"http://127.0.0.1:{port}", folder
        self._overrides = (f"folder={folder}", f"web.port={port}", "threads=1", *overrides)
        self.left: list[psutil.Process] = []
        """Workers of servers that were killed."""
        self.start()

    def start(self) -> None:
        program = [sys.executable, "-m", "experiments.people", *self._overrides]
        self.process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def workers(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill(self, whom: str) -> None:
        """SIGKILL the worker, the server or both; who starts a server again has started its worker, too."""
        victims = self.workers() if whom in ("worker", "both") else []
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        if whom in ("server", "both"):
            self.left += self.workers()
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.start()

    def close(self) -> None:
        for victim in self.workers():
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        self.process.kill()
        self.process.wait()

    def events(self) -> int:
        """In the log so far."""
        import sqlite3

        with suppress(sqlite3.Error):
            path = f"file:{self.folder / DATABASE}?mode=ro"
            with closing(sqlite3.connect(path, uri=True)) as log:
                return int(log.execute("SELECT COUNT(*) FROM events").fetchone()[0])
        return 0


@pytest.mark.slow
def test_killed_servers_and_workers_lose_no_answer(tmp_path: Path) -> None:
    overrides = ("conditions=[images:random-bucket,text]", "design=within", "sessions=2", "goals=8", "env.rounds=3")
    people, rng = max(4, KILLS // 4), random.Random(0)
    options = (*overrides, f"goals={2 * people}", "web.requests_per_second=100")
    command, found = Command(tmp_path, *options), []

    def bots() -> None:
        found.append(asyncio.run(bots_at(command.url, people=people)))

    thread = threading.Thread(target=bots)
    thread.start()
    try:
        for _, whom in zip(range(KILLS), cycle(["server", "worker", "both"]), strict=False):
            target, end = command.events() + rng.randint(1, 12), time.monotonic() + 120
            while command.events() < target and time.monotonic() < end and thread.is_alive():
                time.sleep(rng.random() / 10)
            command.kill(whom)
        thread.join(550)
        assert found, "the bots have not finished"
    finally:
        command.close()
    assert psutil.wait_procs(command.left, timeout=60)[1] == [], "workers of killed servers go on"
    study = Study(options_of(f"folder={tmp_path}", *options))
    store = Store(tmp_path, lambda log: False)
    check_answers(found[0], store)
    assert len(traces_of(study, store)) == 2 * people
    store.close()


def test_assignment_is_balanced_whoever_leaves(hall: Any) -> None:
    """In simulation: conditions and goals fill evenly, with a third of the people gone at random."""
    study = Study(options_of("conditions=[images:published,images:random-bucket,images:constant:0.7,text]",
                             "goals=50", "sessions=2"))  # fmt: skip
    rng, taken, persons = random.Random(1), {}, 0
    while True:
        cells = study.plan(persons, taken, persons)
        if not cells:
            break
        persons += 1
        if rng.random() > 1 / 3:
            assert len({condition for condition, _ in cells}) == 1
            assert len({goal for _, goal in cells}) == len(cells)
            for cell in cells:
                assert cell not in taken
                taken[cell] = 1
        counts = [sum(condition == place for condition, _ in taken) for place in range(4)]
        assert max(counts) - min(counts) <= 2
    assert len(taken) == 200
    assert persons > 120


def test_within_persons_conditions_come_in_every_position_equally_often() -> None:
    study = Study(options_of("conditions=[images:published,images:random-bucket,images:constant:0.7,text]",
                             "design=within", "goals=60", "sessions=4"))  # fmt: skip
    taken: dict[tuple[int, int], int] = {}
    places = [[0] * 4 for _ in range(4)]
    for person in range(40):
        cells = study.plan(person, taken, person)
        assert sorted(condition for condition, _ in cells) == [0, 1, 2, 3]
        taken |= dict.fromkeys(cells, 1)
        for place, (condition, _) in enumerate(cells):
            places[condition][place] += 1
    assert places == [[10] * 4 for _ in range(4)]
