"""A language model behind a local server."""

import json
import pickle
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from steer_env.humans.writers import Request, load_writer
from steer_env.redaction import redacted
from steer_env.servers import ServerError
from tests.steer_env.humans.server import Reply, completion, server

REQUESTS = [Request("Say it again.", f"question {i}", i) for i in range(3)]


def echo(body: dict[str, Any]) -> Reply:
    return completion(f"{body['messages'][1]['content']} with seed {body['seed']}")


def test_every_request_is_answered_in_its_place_and_asked_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with server(echo) as (url, asked):
        options = {"key_variable": "MY_KEY", "temperature": 0.5, "max_tokens": 9, "cache": ""}
        answers = load_writer("endpoint", model="stub", base_url=url, **options).write(REQUESTS)
    assert answers == [f"question {i} with seed {i}" for i in range(3)]
    assert len(asked) == 3
    for body in asked:
        assert body["path"] == "/v1/chat/completions"
        assert body["key"] == "Bearer secret"
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("stub", 0.5, 9)
        assert body["messages"][0] == {"role": "system", "content": "Say it again."}


def test_a_key_that_is_repeated_in_an_answer_isnt_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the variable isn't called like one that holds a secret."""
    monkeypatch.setenv("MY_LOGIN", "hidden7")
    cache = tmp_path / "answers.sqlite"
    with server(lambda _: completion("you are Bearer hidden7")) as (url, _):
        options = {"key_variable": "MY_LOGIN", "base_url": url, "cache": str(cache)}
        answers = load_writer("endpoint", model="stub", **options).write(REQUESTS[:1])
    assert answers == ["you are Bearer [secret]"]
    assert b"hidden7" not in cache.read_bytes()
    assert redacted("hidden7") == "[secret]"


def test_a_rerun_asks_nothing_again(tmp_path: Path) -> None:
    options = {"model": "stub", "cache": str(tmp_path / "new" / "answers.sqlite")}
    with server(echo) as (url, asked):
        first = load_writer("endpoint", base_url=url, **options).write(REQUESTS[:2])
        again = pickle.loads(pickle.dumps(load_writer("endpoint", base_url=url, **options))).write(REQUESTS)
        other = load_writer("endpoint", base_url=url, temperature=0.1, **options).write(REQUESTS[:1])
    assert again[:2] == first
    assert other == first[:1]
    assert [body["seed"] for body in asked[2:]] == [2, 0]


def test_answers_of_earlier_releases_are_read(tmp_path: Path) -> None:
    key = "a99cb0528a68eca8da1e7ac513721ace9c9aac808bad2cfe8abf1d97702f1540"
    with closing(sqlite3.connect(tmp_path / "answers.sqlite")) as kept, kept:
        kept.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        kept.execute("INSERT INTO answers VALUES (?, 'kept')", (key,))
    cache, base_url = str(tmp_path / "answers.sqlite"), "http://127.0.0.1:9/v1"
    assert load_writer("endpoint", model="stub", base_url=base_url, cache=cache).write(REQUESTS[:1]) == ["kept"]


def test_it_tries_again_after_a_timeout_and_a_refusal_for_the_time_being() -> None:
    replies = iter([slow, lambda _: (429, "{}"), lambda _: (503, "{}")])
    with server(lambda body: next(replies, echo)(body)) as (url, asked):
        writer = load_writer("endpoint", model="stub", base_url=url, timeout=1.5, cache="")
        assert writer.write(REQUESTS[:1]) == ["question 0 with seed 0"]
    assert len(asked) >= 4


def test_what_was_answered_before_an_error_is_kept(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        if body["seed"] == 2 and not mended:
            time.sleep(0.3)
            return 400, '{"error": {"message": "too long"}}'
        return echo(body)

    mended: list[bool] = []
    with server(reply) as (url, asked):
        writer = load_writer("endpoint", model="stub", base_url=url, cache=str(tmp_path / "answers.sqlite"))
        with pytest.raises(ServerError, match=r"refused, with status 400: .*too long"):
            writer.write(REQUESTS)
        mended.append(True)
        before = len(asked)
        writer.write(REQUESTS)
        assert [body["seed"] for body in asked[before:]] == [2]


def slow(_: dict[str, Any]) -> Reply:
    time.sleep(2)
    return completion("late")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda _: (401, '{"error": {"message": "bad key"}}'), "refused, with status 401: bad key"),
        (lambda _: (500, "{}"), "refused, with status 500"),
        (lambda _: (200, "<html>"), "answered no JSON"),
        (lambda _: (200, '{"choices": []}'), "answered no chat completion"),
        (lambda _: completion(None), "answered no chat completion that holds a text"),
        (slow, r"didn't answer in time: timeout is 1 s"),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_so(reply: Callable[..., Reply], message: str) -> None:
    with server(reply) as (url, _):
        timeout = 1.0 if reply is slow else 20.0
        writer = load_writer("endpoint", model="stub", base_url=url, timeout=timeout, retries=0, cache="")
        with pytest.raises(ServerError, match=message):
            writer.write(REQUESTS[:1])


KEY = "topsecret1"


def test_a_lone_surrogate_is_kept_as_another_letter(tmp_path: Path) -> None:
    with server(lambda _: completion("a \ud800 cat")) as (url, asked):
        writer = load_writer("endpoint", model="stub", base_url=url, cache=str(tmp_path / "answers.sqlite"))
        assert writer.write(REQUESTS[:1]) == writer.write(REQUESTS[:1]) == ["a ? cat"]
    assert len(asked) == 1


def test_a_server_that_repeats_the_key_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", KEY)
    with server(lambda _: (401, json.dumps({"error": {"message": f"bad {KEY}"}}))) as (url, _):
        writer = load_writer("endpoint", model="stub", base_url=url, key_variable="MINE", retries=0, cache="")
        with pytest.raises(ServerError, match=r"status 401: bad \[secret\]") as caught:
            writer.write(REQUESTS[:1])
    assert KEY not in str(caught.value)


def test_nobody_there() -> None:
    writer = load_writer("endpoint", model="stub", base_url="http://127.0.0.1:9/v1", retries=0, cache="")
    with pytest.raises(ServerError, match=r"http://127.0.0.1:9/v1 can't be reached .* is base_url right"):
        writer.write(REQUESTS[:1])


def test_a_missing_key_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ServerError, match="the environment variable OPENAI_API_KEY holds no key"):
        load_writer("endpoint", model="gpt")
    with pytest.raises(ValueError, match=r"timeout must be from 0\.01 to 86400, got 0"):
        load_writer("endpoint", model="gpt", base_url="http://localhost/v1", timeout=0)


@pytest.mark.parametrize("kind", ["text", "cut", "folder", "another"])
def test_a_cache_that_cant_be_used_is_named(kind: str, tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    with server(echo) as (url, _):
        writer = load_writer("endpoint", model="stub", base_url=url, cache=str(cache))
        if kind == "cut":
            writer.write(REQUESTS)
            cache.write_bytes(cache.read_bytes()[:5000])
        elif kind == "folder":
            cache.mkdir()
        elif kind == "text":
            cache.write_text(1000 * "no database ")
        else:
            with closing(sqlite3.connect(cache)) as other, other:
                other.execute("CREATE TABLE answers (something TEXT)")
        with pytest.raises(ValueError, match=r"cache=.*answers\.sqlite can't be used: "):
            writer.write(REQUESTS)


def test_a_cache_may_lie_in_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with server(echo) as (url, _):
        load_writer("endpoint", model="stub", base_url=url, cache="~/answers.sqlite").write(REQUESTS[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["answers.sqlite"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_the_key_elsewhere(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret")
    with server(echo) as (elsewhere, stolen), server(lambda _: (status, elsewhere)) as (url, _):
        with pytest.raises(ServerError, match=f"refused, with status {status}"):
            load_writer("endpoint", model="stub", base_url=url, cache="", retries=0).write(REQUESTS[:1])
        assert not stolen


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("http://localhost:8000/v1#x", "sk-1234567", "base_url may have no part after #"),
        ("http://localhost:99999", "sk-1234567", "base_url must be an address such as"),
        ("http://[::1", "sk-1234567", "base_url must be an address such as"),
        ("http://localhost:8000", "sk-1\nX: y", "no header can hold the key or the address"),
        ("http://localhost:8000", "sk-é", "no header can hold the key or the address"),
        ("http://localhost:8000/\r\nX: y", "sk-1234567", "no header can hold the key or the address"),
    ],
)
def test_addresses_and_keys_that_cant_be_sent(
    url: str, key: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match=message) as refused:
        load_writer("endpoint", model="stub", base_url=url)
    assert key not in str(refused.value)
