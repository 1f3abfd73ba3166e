"""What the server refuses, what it escapes, and what it says in its headers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.people.__main__ import main
from tests.experiments.people.conftest import HERE, Hall, Person, fields
from tests.test_imports import ROOT

Open = Callable[..., Hall]
HOSTILE = "<script>alert('x')</script>\"'&{{7*7}}"


def test_what_people_write_is_escaped_wherever_it_is_shown(hall: Open) -> None:
    house = hall('conditions=["text:attempts=2"]', "sessions=1")
    person = house.person()
    person.play(until="write")
    person.answer(prompt=HOSTILE)
    page = person.page
    assert "&lt;script&gt;" in page
    assert "alert(" in page
    assert "<script>alert" not in page
    assert "{{7*7}}" in page, "the words aren't a template"
    refused = person.answer(prompt="\x00bad")
    assert refused.status_code == 422
    person.play()
    results = house.client.get("/results").text
    assert "<script>alert" not in results
    assert "<progress" not in results, "a page of the researcher has no person's progress"


def test_texts_are_the_studys_own(hall: Open, tmp_path: Path) -> None:
    texts = {"consent": "# What\n\nA <b>study</b>.", "instructions": "# How\n\nPick & choose."}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    house = hall("conditions=[images:random-bucket]", *(f"{name}={tmp_path / name}" for name in texts))
    person = house.person()
    assert "<h2>What</h2><p>A &lt;b&gt;study&lt;/b&gt;.</p>" in "".join(person.page.splitlines())
    person.answer()
    assert "<h2>How</h2><p>Pick &amp; choose.</p>" in "".join(person.page.splitlines())
    assert "Below it are images" not in person.page


def test_every_answer_has_strict_headers(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]")
    person = house.person()
    for path in ("/", person.path, "/static/people.css", "/results", "/nothing", f"{person.path}/state", "/s/none"):
        headers = house.client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert "set-cookie" not in headers
        assert ("no-store" in headers["cache-control"]) == (not path.startswith("/static"))


def test_pages_ask_for_nothing_from_elsewhere() -> None:
    room = ROOT / "experiments" / "people"
    for path in [*room.glob("templates/*.html"), *room.glob("static/*")]:
        text = path.read_text()
        for found in ("src=", "url(", "@import", "fetch("):
            for part in text.split(found)[1:]:
                assert not part.lstrip("\"'`(").startswith(("http", "//")), f"{path}: {found}{part[:40]}"


def test_forms_need_a_token_of_this_server(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]")
    first, second = house.person(), house.person()
    form = fields(first.page)
    for token in ("", "0" * 32, fields(second.page)["csrf"], "é"):
        assert house.client.post(first.path, data={**form, "csrf": token, "agrees": "yes"}).status_code == 403
        assert house.client.post(f"{first.path}/withdraw", data={"csrf": token}).status_code == 403
    assert house.client.post("/arrive", data={"csrf": form["csrf"]}).status_code == 403
    assert house.client.post("/explore", data={"csrf": form["csrf"]}).status_code == 403
    assert "consent" in first.step


def test_without_a_password_it_answers_to_its_own_names_alone(hall: Open) -> None:
    """A page elsewhere whose name is made to lead to this machine reads nothing."""
    for options, strange in (((), 400), (("web.password=long-enough",), 200)):
        client = hall("conditions=[images:random-bucket]", *options).client
        codes = [
            client.get("/", headers={"host": host}).status_code for host in ("127.0.0.1:1", "localhost", "a.example")
        ]
        assert codes == [200, 200, strange]


def test_large_and_malformed_requests_are_refused(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]")
    person = house.person()
    form = fields(person.page)

    def endless() -> object:
        yield b"prompt="
        for _ in range(100):
            yield b"x" * 1024

    assert house.client.post(person.path, data={**form, "agrees": "x" * 20_000}).status_code == 413
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert house.client.post(person.path, content=endless(), headers=kind).status_code == 400
    assert house.client.get("/" + "x" * 3000).status_code == 413
    assert house.client.post(person.path, data={f"f{i}": "1" for i in range(50)}).status_code >= 400
    files = {"prompt": ("a.txt", b"x", "text/plain")}
    assert house.client.post(person.path, files=files, data=form).status_code >= 400
    for path in ("/static/../log.py", "/static/%2e%2e/log.py", "/s/../../etc/passwd", "/results/../study.sqlite"):
        assert house.client.get(path).status_code == 404
    assert "consent" in person.step


def test_halves_of_letters_break_no_table(hall: Open) -> None:
    """A browser never sends them; who does so may not take the researcher's results away."""
    house = hall("conditions=[images:random-bucket]", "codes.platform=prolific")
    token = fields(house.client.get("/?PROLIFIC_PID=a").text)["csrf"]
    parts = {"csrf": token, "PROLIFIC_PID": "\\ud800\\x1b"}
    body = "".join(f'--b\r\ncontent-disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in parts.items())
    kind = {"content-type": "multipart/form-data; boundary=b; charset=unicode_escape"}
    arrived = house.client.post("/arrive", content=f"{body}--b--\r\n", headers=kind)
    assert arrived.status_code == 200
    assert house.store.platform(1) == {"PROLIFIC_PID": "\ufffd\ufffd"}
    assert house.client.get("/results/people.csv").status_code == 200
    body = body.replace(token, "\\ud800")
    assert house.client.post("/arrive", content=f"{body}--b--\r\n", headers=kind).status_code == 403


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "text:attribute"}, "writes prompts; people choose images"),
        ({"mechanism": "bayesian:metric=nosuch"}, "unknown metric &#39;nosuch&#39;"),
    ],
)
def test_what_the_researcher_tries_stops_nobody(hall: Open, options: dict[str, str], message: str) -> None:
    house = hall("conditions=[images:random-bucket]", "sessions=1", "env.rounds=1")
    form = {
        "csrf": fields(house.client.get("/explore").text)["csrf"],
        "mechanism": "mixture",
        "scale": "1",
        "goal": "0",
    }
    begun = house.client.post("/explore", data=form | options)
    house.worker.turn()
    assert message in (begun if begun.status_code == 422 else house.client.get(begun.url.path)).text
    assert house.store.queue() == []
    person = house.person()
    person.play()
    assert "explored" not in person.page


def test_a_person_who_asks_too_often_is_slowed_down_and_others_are_not(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", "web.requests_per_second=0.5")
    first, second = house.person(), house.person()
    codes = [house.client.get(first.path).status_code for _ in range(15)]
    assert codes.count(429) >= 4
    assert house.client.get(second.path).status_code == 200


def test_an_address_sends_so_many_new_people_and_no_more(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", "web.arrivals_per_minute=6")
    form = fields(house.client.get("/").text)
    codes = [house.client.post("/arrive", data=form).status_code for _ in range(5)]
    assert codes[:2] == [200, 200]
    assert codes[2:] == [429] * 3


def test_pictures_are_those_of_the_screen_that_the_person_has(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", "sessions=1", "env.rounds=2")
    first, second = house.person(), house.person()
    first.play(until="chosen.0")
    step = first.step
    assert house.client.get(f"{first.path}/picture/{step}/0.png").status_code == 200
    for path in (f"{second.path}/picture/{step}/0.png", f"{first.path}/picture/{step}/9.png",
                 f"{first.path}/picture/{step}/².png", f"{first.path}/picture/0.steer.chosen.1/0.png"):  # fmt: skip
        assert house.client.get(path).status_code == 404


def test_the_researchers_pages_ask_for_the_password(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", "web.password=long-enough")
    for path in ("/results", "/explore", "/results/traces.csv", "/results/people.csv", "/results/figure/x.png"):
        assert house.client.get(path).status_code == 401
        wrong = {"authorization": "Basic " + base64.b64encode(b"researcher:wrong").decode()}
        assert house.client.get(path, headers=wrong).status_code == 401
        assert house.client.get(path, headers={"authorization": "Basic é".encode("latin-1")}).status_code == 401
    right = {"authorization": "Basic " + base64.b64encode(b"researcher:long-enough").decode()}
    assert house.client.get("/results", headers=right).status_code == 200
    assert house.client.post("/explore").status_code == 401
    assert house.client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["web.host=0.0.0.0"], "web.password"),
        (["web.host=0.0.0.0", "web.password=short"], "web.password"),
        (["web.proxy=127.0.0.1"], "web.password"),
        (["web.host=localhost"], "IP address"),
        (["conditions=[imges]"], "did you mean 'images'"),
        (["conditions=[images:polcy=x]"], "polcy"),
        (["consent=nowhere.txt"], "nowhere.txt"),
        (["instructions=nowhere.txt"], "nowhere.txt"),
        (["conditions=[images:policy=published,learn=thompson]"], "not both"),
        (["conditions=[images:learn=tompson]"], "did you mean 'thompson'"),
        (["goals=0"], "goals"),
        (["design=sideways"], "sideways"),
    ],
)
def test_errors_come_before_a_folder_is_made(refuses: Callable[..., None], options: list[str], message: str) -> None:
    quoted = [f'conditions=["{o[12:-1]}"]' if o.startswith("conditions") else o for o in options]
    refuses(main, message, *quoted, error=(ValueError, OSError))


def test_people_from_prolific_are_known_again_and_sent_back(hall: Open) -> None:
    codes = ("codes.platform=prolific", "codes.completed=C1DONE", "codes.failed_attention=C2FAIL")
    house = hall("conditions=[images:random-bucket]", "sessions=1", "env.rounds=1", *codes)
    assert "by the link on the page that sent you here" in house.client.get("/").text
    link = "/?PROLIFIC_PID=5f1a&STUDY_ID=s1&SESSION_ID=r1"
    tokens = []
    for _ in range(2):
        page = house.client.get(link)
        tokens.append(str(house.client.post("/arrive", data=fields(page.text)).url))
    assert tokens[0] == tokens[1]
    assert house.store.platform(1) == {"PROLIFIC_PID": "5f1a", "STUDY_ID": "s1", "SESSION_ID": "r1"}
    person = Person(house, tokens[0].removeprefix(HERE))
    person.play()
    assert "https://app.prolific.com/submissions/complete?cc=C1DONE" in person.page


def test_workers_from_mechanical_turk_submit_there_and_nowhere_else(hall: Open) -> None:
    house = hall(
        *("conditions=[images:random-bucket]", "sessions=1", "env.rounds=1"),
        *("codes.platform=mturk", "codes.completed=DONE"),
    )
    for place, accepted in (("https://www.mturk.com", True), ("https://evil.example", False)):
        link = f"/?workerId=w{accepted}&assignmentId=a1&hitId=h1&turkSubmitTo={place}"
        page = house.client.get(link)
        assert "frame-ancestors https://www.mturk.com" in page.headers["content-security-policy"]
        reply = house.client.post("/arrive", data=fields(page.text))
        person = Person(house, reply.url.path)
        person.play()
        assert (f'action="{place}/mturk/externalSubmit"' in person.page) == accepted
    preview = house.client.get("/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=h1")
    assert "Begin" not in preview.text
