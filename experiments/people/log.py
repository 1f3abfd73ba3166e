"""The log of a study: events in SQLite, of which every screen is a function. Nothing is ever changed in it.

Only withdrawing deletes. An event has a place that it can take once, so that a double click, a second tab or a request
that is sent again counts once.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from steer_env.files import DamagedError
from steer_env.traces import PERSON

DATABASE = "study.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS persons (
    id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, arrived REAL NOT NULL, platform TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL, session INTEGER NOT NULL, kind TEXT NOT NULL,
    place INTEGER NOT NULL, at REAL NOT NULL, data TEXT NOT NULL, UNIQUE (person, session, kind, place));
CREATE TABLE IF NOT EXISTS pictures (
    person INTEGER NOT NULL, session INTEGER NOT NULL, place INTEGER NOT NULL, item INTEGER NOT NULL,
    png BLOB NOT NULL, PRIMARY KEY (person, session, place, item));
CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS sources (
    condition INTEGER NOT NULL, item INTEGER NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (condition, item));
CREATE TABLE IF NOT EXISTS source_pictures (
    condition INTEGER NOT NULL, item INTEGER NOT NULL, attempt INTEGER NOT NULL, png BLOB NOT NULL,
    PRIMARY KEY (condition, item, attempt));
CREATE INDEX IF NOT EXISTS kinds ON events (kind, person, session);
CREATE INDEX IF NOT EXISTS seen ON events (person, at);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
GOAL = -1
"""Place of a session's goal picture."""
NO_SESSION = -1
"""Of events that belong to no session."""

Key = tuple[int, str, int]
Log = dict[Key, dict[str, Any]]
"""A person's events: session, kind and place → data, with ``at``, seconds since 1970."""


def of_session(log: Log, session: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Events of one session, or outside of sessions: kind and place → data."""
    return {(kind, place): data for (own, kind, place), data in log.items() if own == session}


def session_name(person: int, session: int) -> str:
    """What tables of ratings and learners call a session."""
    return f"{PERSON}{person}, session {session}"


@dataclass(frozen=True)
class Event:
    """What happened in a person's session, or in none (−1), at a place (round, attempt, question) that it has once."""

    session: int
    kind: str
    place: int
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a person was given to do, and how far it got.

    Args:
        person: whose.
        cells: condition and goal of each session.
        finished: sessions.
        seen: seconds since 1970, of the last event.
        failed: whether the person has failed too many checks.
    """

    person: int
    cells: list[tuple[int, int]]
    finished: frozenset[int]
    seen: float
    failed: bool


Pictures = Mapping[tuple[int, int], bytes]
"""By place and item, PNG files."""


class Store:
    """The study's database, for one process; ``waits`` says of a person's events whether the worker is needed."""

    def __init__(self, folder: Path, waits: Callable[[Log], bool]) -> None:
        self.folder, self._waits, self._lock = folder, waits, RLock()
        path = folder / DATABASE
        if path.is_file() and not path.stat().st_size:
            raise DamagedError(f"{path} is empty: its answers are lost; remove it to begin anew")
        try:
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise DamagedError(f"{path} can't be used: {error}") from error
        try:
            self._open()
        except sqlite3.Error as error:
            self.close()
            raise DamagedError(f"{path} can't be used: {error}") from error

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA secure_delete=ON")
        (state,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if state != "ok" or (tables and "events" not in tables):
            raise sqlite3.DatabaseError(state if state != "ok" else "it has no events")
        self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        if bad := self._one("SELECT id FROM events WHERE NOT json_valid(data)"):
            raise sqlite3.DatabaseError(f"event {bad[0]} is damaged")

    def _first(self, name: str, value: str) -> str:
        """Keep a value under a name, unless one is kept; returns the kept one."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value))
        return str(self._one("SELECT value FROM settings WHERE name = ?", (name,))[0])

    def keep(self, study: Mapping[str, Any]) -> None:
        """Keep what mustn't change while people take part, by name; a ValueError if it was other before."""
        for name, value in study.items():
            kept = self._first(f"content of {name}", json.dumps(value))
            if json.loads(kept) != value:
                raise ValueError(
                    f"{name} has changed since people began: its tasks or its policy were {kept}, now they are "
                    f"{json.dumps(value)}; take a new folder"
                )

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements take effect or none, and other threads wait. A transaction within a transaction joins it."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def secret(self) -> str:
        """Of this study, for CSRF tokens."""
        return self._first("secret", secrets.token_hex(32))

    def arrive(self, platform: Mapping[str, str]) -> str:
        """A new person, or the one whom a platform sent before; returns the token."""
        known = json.dumps(dict(sorted(platform.items())))
        with self.transaction() as db:
            row = db.execute("SELECT token FROM persons WHERE platform = ? AND ? != '{}'", (known, known)).fetchone()
            if row:
                return str(row[0])
            token = secrets.token_urlsafe(16)
            db.execute("INSERT INTO persons (token, arrived, platform) VALUES (?, ?, ?)", (token, time.time(), known))
        return token

    def person(self, token: str) -> int | None:
        """Whose token it is."""
        row = self._one("SELECT id FROM persons WHERE token = ?", (token,))
        return int(row[0]) if row else None

    def platform(self, person: int) -> dict[str, str]:
        """What the platform said of a person."""
        row = self._one("SELECT platform FROM persons WHERE id = ?", (person,))
        return dict(json.loads(row[0])) if row else {}

    def active(self, seconds: float) -> int:
        """How many people have shown themselves in the last seconds."""
        query = "SELECT COUNT(DISTINCT person) FROM events WHERE at > ?"
        return int(self._one(query, (time.time() - seconds,))[0])

    def plans(self) -> list[Plan]:
        """Of all who were given something to do."""
        query = """
            SELECT person, json_extract(data, '$.cells'),
                (SELECT json_group_array(session) FROM events WHERE person = own.person AND kind = 'finished'),
                (SELECT MAX(at) FROM events WHERE person = own.person),
                EXISTS (SELECT * FROM events WHERE person = own.person AND kind = 'failed')
            FROM events AS own WHERE kind = 'assigned' AND json_extract(data, '$.explore') IS NULL ORDER BY id
        """
        return [
            Plan(person, [(c, g) for c, g in json.loads(cells)], frozenset(json.loads(finished)), seen, bool(failed))
            for person, cells, finished, seen, failed in self._all(query)
        ]

    def ended(self) -> list[tuple[int, int]]:
        """Person and number of each finished session, in the order in which they ended."""
        return self._all("SELECT person, session FROM events WHERE kind = 'finished' ORDER BY id")

    def changes(self) -> tuple[int, int]:
        """Differs from what it was as soon as another set of sessions counts."""
        query = "SELECT COUNT(*), COALESCE(MAX(id), 0) FROM events WHERE kind IN ('finished', 'failed')"
        return tuple(self._one(query))

    def persons(self) -> list[int]:
        return [person for (person,) in self._all("SELECT id FROM persons ORDER BY id")]

    def log(self, person: int) -> Log:
        """A person's events."""
        query = "SELECT session, kind, place, at, data FROM events WHERE person = ? ORDER BY id"
        rows = self._all(query, (person,))
        return {(session, kind, place): {**json.loads(data), "at": at} for session, kind, place, at, data in rows}

    def logs(self) -> dict[int, Log]:
        """Everybody's events."""
        return {person: self.log(person) for person in self.persons()}

    def session(self, person: int, session: int) -> dict[tuple[str, int], dict[str, Any]]:
        """The events of one session: kind and place → data."""
        query = "SELECT kind, place, at, data FROM events WHERE person = ? AND session = ? ORDER BY id"
        rows = self._all(query, (person, session))
        return {(kind, place): {**json.loads(data), "at": at} for kind, place, at, data in rows}

    def append(self, person: int, events: Iterable[Event], pictures: Pictures | None = None) -> Log:
        """Add events whose places aren't taken, and the pictures of the first; returns all of the person's.

        Who then waits for the worker is queued, and who doesn't isn't, in the same transaction. Events of a person who
        has withdrawn are dropped.
        """
        with self.transaction() as db:
            if not db.execute("SELECT 1 FROM persons WHERE id = ?", (person,)).fetchone():
                return {}
            for event in events:
                row = (person, event.session, event.kind, event.place, time.time(), json.dumps(dict(event.data)))
                query = (
                    "INSERT OR IGNORE INTO events (person, session, kind, place, at, data) VALUES (?, ?, ?, ?, ?, ?)"
                )
                if db.execute(query, row).rowcount and pictures:
                    db.executemany(
                        "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?, ?)",
                        [(person, event.session, *where, png) for where, png in pictures.items()],
                    )
            log = self.log(person)
            waits = "INSERT OR IGNORE INTO queue (person) VALUES (?)" if self._waits(log) else None
            db.execute(waits or "DELETE FROM queue WHERE person = ?", (person,))
            return log

    def queue(self) -> list[int]:
        """Who waits for the worker, the longest first."""
        return [person for (person,) in self._all("SELECT person FROM queue ORDER BY id")]

    def place_in_queue(self, person: int) -> int:
        """From 1; 0 for who doesn't wait."""
        row = self._one("SELECT COUNT(*) FROM queue WHERE id <= (SELECT id FROM queue WHERE person = ?)", (person,))
        return int(row[0])

    def picture(self, person: int, session: int, place: int, item: int) -> bytes | None:
        """A PNG file."""
        where = "person = ? AND session = ? AND place = ? AND item = ?"
        row = self._one(f"SELECT png FROM pictures WHERE {where}", (person, session, place, item))
        return bytes(row[0]) if row else None

    def sources(self, condition: int) -> list[str]:
        """Facts of what a condition's people rate, in order."""
        query = "SELECT facts FROM sources WHERE condition = ? ORDER BY item"
        return [facts for (facts,) in self._all(query, (condition,))]

    def add_sources(self, condition: int, sources: Sequence[tuple[str, Mapping[int, bytes]]]) -> None:
        """Keep what is to be rated: facts, and pictures by attempt."""
        with self.transaction() as db:
            for item, (facts, pictures) in enumerate(sources):
                if db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?, ?)", (condition, item, facts)).rowcount:
                    rows = [(condition, item, attempt, png) for attempt, png in pictures.items()]
                    db.executemany("INSERT INTO source_pictures VALUES (?, ?, ?, ?)", rows)

    def source_picture(self, condition: int, item: int, attempt: int) -> bytes | None:
        """A PNG file."""
        where = "condition = ? AND item = ? AND attempt = ?"
        row = self._one(f"SELECT png FROM source_pictures WHERE {where}", (condition, item, attempt))
        return bytes(row[0]) if row else None

    def begin_by_hand(self, plan: Mapping[str, Any]) -> str:
        """A session of the researcher's own, which counts nowhere; returns its token."""
        with self.transaction():
            token = self.arrive({"explore": secrets.token_urlsafe(16)})
            person = self.person(token)
            assert person is not None
            events = [Event(NO_SESSION, "consented", 0, {"agrees": True}), Event(NO_SESSION, "instructed", 0, {})]
            self.append(person, [*events, Event(NO_SESSION, "assigned", 0, {**plan, "person": person})])
        return token

    def forget(self, person: int) -> None:
        """Delete all that is known of a person, who has withdrawn; the token then leads nowhere."""
        with self.transaction() as db:
            for table in ("events", "pictures", "queue"):
                db.execute(f"DELETE FROM {table} WHERE person = ?", (person,))
            db.execute("DELETE FROM persons WHERE id = ?", (person,))
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _all(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _one(self, query: str, values: tuple[Any, ...] = ()) -> Any:
        with self._lock:
            return self._db.execute(query, values).fetchone()
