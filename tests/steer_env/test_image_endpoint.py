"""Image models behind a server: slow, refusing, huge and broken ones, and one that works, on loopback."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

import steer_env  # noqa: F401  (registers the environments)
from experiments import evaluate
from steer_env.generators import load_generator
from steer_env.generators.endpoint import EndpointGenerator
from steer_env.servers import Server, ServerError, ServerOptions
from steer_env.testing import check_generator
from steer_env.traces import read_traces
from tests.experiments.conftest import command  # noqa: F401  (a fixture)

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]
SIZE = (24, 16)


def picture(prompt: str, size: tuple[int, int] = SIZE, kind: str = "PNG") -> bytes:
    """Another picture of a prompt each time, as of a model that can't be told its noise."""
    rng = np.random.default_rng([time.monotonic_ns(), *hashlib.sha256(prompt.encode()).digest()])
    to = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(to, kind)
    return to.getvalue()


def reply(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def draw(handler: BaseHTTPRequestHandler, question: dict[str, Any]) -> None:
    image = base64.b64encode(picture(question["prompt"])).decode()
    reply(handler, json.dumps({"created": 1, "data": [{"b64_json": image}]}).encode())


def say(value: Any, status: int = 200, **headers: str) -> Answer:
    return lambda handler, _: reply(handler, json.dumps(value).encode(), status, **headers)


def slowly(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    """A byte now and then, for ever: no gap is long."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def slow_headers(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-A: b\r\n")
        time.sleep(0.05)


def shortened(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    """Less than it promises."""
    handler.send_response(200)
    handler.send_header("Content-Length", "99")
    handler.end_headers()


def endlessly(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 1_000_000)


@contextmanager
def served(answer: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and the questions as they come, each with the key that it brought."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({**question, "key": self.headers["Authorization"], "path": self.path})
            try:
                answer(self, question)
            except OSError:
                """The client has left."""

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}/v1", asked
        finally:
            httpd.shutdown()


def generator(url: str, cache: Path, **options: Any) -> EndpointGenerator:
    settings = {"model": "painter", "size": "24x16", "base_url": url, "cache": str(cache), "retries": 0}
    return EndpointGenerator(**{**settings, **options})


def ask(url: str, cache: Path, **options: Any) -> torch.Tensor:
    ours = generator(url, cache, **options)
    return ours.generate(torch.zeros(1, 4), ours.encode(["a star"]))


def test_an_image_is_asked_for_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with served(draw) as (url, asked):
        ours = generator(url, tmp_path, key_variable="MY_KEY", arguments={"quality": "low"})
        check_generator(ours)
        assert [question.pop("key") for question in asked] == ["Bearer secret"] * 3
        sent = {"model": "painter", "size": "24x16", "n": 1, "quality": "low", "path": "/v1/images/generations"}
        assert sorted(asked, key=str) == sorted(({**sent, "prompt": prompt} for prompt in ("", "a", "b")), key=str)
        twice = ours.generate(torch.ones(2, 4), ours.encode(["a", "a"]))
        other = twice[:1]
        assert torch.equal(twice[1:], other)
        assert len(asked) == 4
    # The server is gone.
    sent_on = pickle.loads(pickle.dumps(ours))
    assert torch.equal(sent_on.generate(torch.ones(1, 4), ours.encode(["a"])), other)
    assert b"secret" not in pickle.dumps(ours)
    with pytest.raises(ServerError, match=r"127.0.0.1:\d+/v1 can't be reached \(.+\): does it run"):
        generator(url, tmp_path, arguments={"quality": "high"}).generate(torch.ones(1, 4), ours.encode(["a"]))


def test_text_steering_runs_twice_alike(tmp_path: Path) -> None:
    with served(draw) as (url, asked):
        spec = {"name": "endpoint", "model": "painter", "size": "24x16", "base_url": url, "cache": str(tmp_path)}
        options = {"generator": spec, "metric": "pixel-correlation", "num_envs": 2}

        def play() -> list[np.ndarray]:
            env = gym.make_vec("steer_env/TextSteering-v0", **options)
            first = env.reset(seed=0)[1]["similarity"]
            return [first, env.step(("a star", "red rings"))[4]["similarity"]]

        played, before = play(), len(asked)
        assert np.array_equal(played, play())
        assert len(asked) == before
        with pytest.raises(ValueError, match=r"painter 24x16 takes no latents, so its images can't be mixed: it is"):
            gym.make_vec("steer_env/ImageSteering-v0", **options)


def test_the_command_plays_writers_and_refuses_choosers(
    tmp_path: Path,
    command: Callable[..., None],  # noqa: F811
) -> None:
    with served(draw) as (url, _):
        options = ["generator=endpoint", "generator.model=painter", f"generator.base_url={url}", "tasks=2"]
        options += ["generator.size=24x16", f"generator.cache={tmp_path / 'images'}", "metric=pixel-correlation"]
        options += ["env.rounds=1", "strips=0", "env.judges=[]"]
        for name in ("one", "two"):
            folder = f"folder={tmp_path / name}"
            command(evaluate.main, folder, *options, "policies=[text:blind]", "baseline=text blind")
        one, two = (read_traces(tmp_path / name / "traces") for name in ("one", "two"))
        assert [trace.similarities for trace in one] == [trace.similarities for trace in two]
        with pytest.raises(ValueError, match=r"takes no latents, so its images can't be mixed"):
            command(evaluate.main, f"folder={tmp_path / 'three'}", *options, "policies=[random-bucket,text:blind]")
        assert not (tmp_path / "three").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (slowly, r"didn't answer in time: timeout is 0.4 s"),
        (slow_headers, r"didn't answer in time: timeout is 0.4 s"),
        (lambda *_: time.sleep(1), r"didn't answer in time: timeout is 0.4 s"),
        (endlessly, r"answers more than 64,000,000 bytes: not read on"),
        (say({"error": {"message": "no such model\x1b[31m"}}, 404), r"refused, with status 404: no such model\?\[31m$"),
        (say({"error": {"message": "key sesame"}}, 401), r"refused, with status 401: key \[secret\]$"),
        (say("x", 302, Location="http://127.0.0.1:9/"), r"refused, with status 302"),
        (lambda handler, _: reply(handler, b"<html>"), r"answered no JSON, but '<html>'"),
        (lambda handler, _: reply(handler, b"[" * 100_000), r"answered no JSON, but"),
        (shortened, r"can't be reached \(peer closed connection"),
        (say({"data": []}), r"answered no image in OpenAI's format"),
        (say({"data": [{"b64_json": "%%%"}]}), r"answered no image in OpenAI's format"),
        (say({"data": [{"url": "http://x/"}]}), r"answers an address of the image, which isn't fetched"),
        (say({"data": [{"b64_json": "AAAA"}]}), r"holds no PNG, JPEG or WebP image"),
        (
            say({"data": [{"b64_json": base64.b64encode(picture("x")[:-400]).decode()}]}),
            r"holds no PNG, JPEG or WebP image",
        ),
        (
            say({"data": [{"b64_json": base64.b64encode(picture("x", (30_000, 2))).decode()}]}),
            r"holds an image of 30000x2 pixels, not 24x16: set size",
        ),
    ],
)
def test_what_a_server_may_do_is_one_line(
    answer: Answer, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    with served(answer) as (url, _):
        start = time.monotonic()
        timeout = 0.4 if "in time" in message else 20
        with pytest.raises(ServerError, match=message) as raised:
            ask(url, tmp_path, timeout=timeout)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - start < 20
    assert not list(tmp_path.iterdir()), "what can't be used isn't kept"


def test_a_refusal_for_the_time_being_is_tried_again_after_a_bounded_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = time.sleep
    monkeypatch.setattr("steer_env.servers.time.sleep", lambda seconds: pauses.append(seconds) or sleep(0))
    answers = iter([say({}, 429, Retry_After="999999"), say({}, 503), draw])
    with served(lambda *inputs: next(answers)(*inputs)) as (url, asked):
        assert ask(url, tmp_path, retries=2).shape == (1, 3, 16, 24)
    assert len(asked) == 3
    assert [pause for pause in pauses if pause] == [30, 1]


def test_images_of_other_formats(tmp_path: Path) -> None:
    for kind in ("JPEG", "WEBP"):
        image = {"b64_json": base64.b64encode(picture("x", kind=kind)).decode()}
        with served(say({"data": [image]})) as (url, _):
            assert ask(url, tmp_path / kind).shape == (1, 3, 16, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "auto"}, "size must be WIDTHxHEIGHT in pixels, such as 1024x1024, got 'auto'"),
        ({"cache": ""}, "cache must name a folder"),
        ({"base_url": "ftp://x"}, "base_url must begin with http:// or https://"),
        ({"base_url": "http://me:pass@x/v1"}, "base_url holds a password or query, which would be written down"),
        ({"base_url": "http://x/v1?key=pass@"}, "base_url holds a password or query, which would be written down"),
        ({"timeout": 0.0}, "timeout must be from 0.01 to 86400, got 0"),
    ],
)
def test_options_that_it_cant_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        load_generator({"name": "endpoint", "model": "m", "base_url": "http://localhost:1/v1", **options})
    assert "pass@" not in str(raised.value)


def test_openais_own_server_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ServerError, match="the environment variable OPENAI_API_KEY holds no key"):
        load_generator("endpoint:model=m")


def test_it_keeps_to_the_rate() -> None:
    with served(say({})) as (url, _):
        server, start = Server(ServerOptions(base_url=url, per_minute=600)), time.monotonic()
        for _ in range(3):
            server.ask("", {})
        assert time.monotonic() - start >= 0.2
