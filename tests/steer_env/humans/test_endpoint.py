"""The openai package against a local server that speaks its protocol."""

import json
import pickle
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs steer-env[endpoint]")

from steer_env.humans.endpoint import LARGEST
from steer_env.humans.writers import Request, WriterError, load_writer
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


def test_a_rerun_asks_nothing_again(tmp_path: Path) -> None:
    options = {"model": "stub", "cache": str(tmp_path / "new" / "answers.sqlite")}
    with server(echo) as (url, asked):
        first = load_writer("endpoint", base_url=url, **options).write(REQUESTS[:2])
        again = pickle.loads(pickle.dumps(load_writer("endpoint", base_url=url, **options))).write(REQUESTS)
        other = load_writer("endpoint", base_url=url, temperature=0.1, **options).write(REQUESTS[:1])
    assert again[:2] == first
    assert other == first[:1]
    assert [body["seed"] for body in asked[2:]] == [2, 0]


def test_it_tries_again_after_a_refusal_for_the_time_being() -> None:
    replies = iter([(429, "{}"), (503, "{}"), completion("well")])
    with server(lambda _: next(replies)) as (url, asked):
        assert load_writer("endpoint", model="stub", base_url=url, cache="").write(REQUESTS[:1]) == ["well"]
    assert len(asked) == 3


def test_what_was_answered_before_an_error_is_kept(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        if body["seed"] == 2 and not mended:
            time.sleep(0.3)
            return 400, '{"error": {"message": "too long"}}'
        return echo(body)

    mended: list[bool] = []
    with server(reply) as (url, asked):
        writer = load_writer("endpoint", model="stub", base_url=url, cache=str(tmp_path / "answers.sqlite"))
        with pytest.raises(WriterError, match=r"refused, with status 400: .*too long"):
            writer.write(REQUESTS)
        mended.append(True)
        before = len(asked)
        writer.write(REQUESTS)
        assert [body["seed"] for body in asked[before:]] == [2]


def test_it_keeps_to_the_rate() -> None:
    with server(echo) as (url, _):
        writer = load_writer("endpoint", model="stub", base_url=url, per_minute=300, cache="")
        start = time.monotonic()
        writer.write(REQUESTS)
        assert time.monotonic() - start >= 2 * 60 / 300


def slow(_: dict[str, Any]) -> Reply:
    time.sleep(5)
    return completion("late")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda _: (401, '{"error": {"message": "bad key"}}'), "refused, with status 401: .*bad key"),
        (lambda _: (500, "{}"), "refused, with status 500"),
        (lambda _: (200, "<html>"), "answered no chat completion"),
        (lambda _: (200, '{"choices": []}'), "answered no chat completion"),
        (lambda _: completion(None), "answered no text, but None"),
        (slow, r"didn't answer in time: timeout is 3.0 s"),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_so(reply: Callable[..., Reply], message: str) -> None:
    with server(reply) as (url, _):
        writer = load_writer("endpoint", model="stub", base_url=url, timeout=3.0, retries=0, cache="")
        with pytest.raises(WriterError, match=message):
            writer.write(REQUESTS[:1])


@contextmanager
def raw(send: Callable[[Any], object]) -> Iterator[str]:
    """A server that reads a request and answers as no good one does; yields its address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            with suppress(OSError):
                send(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/v1"
        running.shutdown()
        thread.join()


KEY = "topsecret1"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(connection: Any) -> None:
    """A byte each tenth of a second, for ever; a gap is never long."""
    connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.1)


def drip_headers(connection: Any) -> None:
    connection.sendall(HEAD)
    while True:
        connection.sendall(b"X-A: b\r\n")
        time.sleep(0.1)


def flood(connection: Any) -> None:
    connection.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" " * 1_000_000)


@pytest.mark.parametrize(
    ("send", "message"),
    [(drip, "in time"), (drip_headers, "in time"), (flood, f"answered more than {LARGEST} bytes")],
)
def test_a_whole_answer_is_bounded_in_time_and_in_bytes(send: Callable[[Any], object], message: str) -> None:
    with raw(send) as url:
        writer = load_writer("endpoint", model="stub", base_url=url, timeout=3.0, retries=0, cache="")
        start = time.monotonic()
        with pytest.raises(WriterError, match=message):
            writer.write(REQUESTS[:1])
        assert time.monotonic() - start < 60


def test_no_pause_is_longer_than_the_timeout() -> None:
    replies = iter([b"HTTP/1.1 429 No\r\nRetry-After: 3600\r\nContent-Length: 2\r\n\r\n{}"])

    def send(connection: Any) -> None:
        connection.sendall(next(replies, None) or HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    body = str(completion("well")[1]).encode()
    with raw(send) as url:
        writer = load_writer("endpoint", model="stub", base_url=url, timeout=20.0, retries=1, cache="")
        start = time.monotonic()
        assert writer.write(REQUESTS[:1]) == ["well"]
        assert time.monotonic() - start < 60


def test_a_lone_surrogate_is_kept_as_another_letter(tmp_path: Path) -> None:
    with server(lambda _: completion("a \ud800 cat")) as (url, asked):
        writer = load_writer("endpoint", model="stub", base_url=url, cache=str(tmp_path / "answers.sqlite"))
        assert writer.write(REQUESTS[:1]) == writer.write(REQUESTS[:1]) == ["a ? cat"]
    assert len(asked) == 1


def test_a_server_that_repeats_the_key_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with server(lambda _: (401, json.dumps({"error": {"message": f"bad {KEY}"}}))) as (url, _):
        writer = load_writer("endpoint", model="stub", base_url=url, retries=0, cache="")
        with pytest.raises(WriterError, match=r"status 401: .*\[secret\]") as caught:
            writer.write(REQUESTS[:1])
    assert KEY not in str(caught.value)


def test_nobody_there() -> None:
    writer = load_writer("endpoint", model="stub", base_url="http://127.0.0.1:9/v1", retries=0, cache="")
    with pytest.raises(WriterError, match=r"http://127.0.0.1:9/v1 can't be reached .* is base_url right"):
        writer.write(REQUESTS[:1])


def test_a_missing_key_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(WriterError, match="the environment variable OPENAI_API_KEY holds no key"):
        load_writer("endpoint", model="gpt")
    with pytest.raises(ValueError, match="timeout positive"):
        load_writer("endpoint", model="gpt", base_url="http://localhost/v1", timeout=0)
