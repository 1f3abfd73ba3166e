"""Sessions from consent to trace, and all that may come between."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.people.export import traces_of
from steer_env.evaluation.rollout import make_env, make_text_env, play
from steer_env.evaluation.suites import evaluation_seed
from steer_env.files import DamagedError
from steer_env.policies.names import load_policy
from steer_env.types import Prompter
from tests.experiments.people.conftest import Hall, Person, fields

Open = Callable[..., Hall]
SMALL = ("sessions=1", "env.rounds=2")


def picture(person: Person, item: str) -> np.ndarray:
    found = person.hall.client.get(f"{person.path}/picture/{person.step}/{item}.png")
    assert found.status_code == 200
    return np.array(Image.open(BytesIO(found.content)))


class Chooser:
    """Chooses by the similarities that the log holds, as the greedy user does."""

    def __init__(self, person: Person) -> None:
        self.person, self.choices = person, []

    def play(self) -> None:
        while step := self.person.step:
            if "steer" not in step:
                self.person.answer()
                continue
            log = self.person.hall.store.log(1)
            offered = log[0, "offered", len(self.choices)]
            self.choices.append(int(np.argmax(offered["similarities"])))
            self.person.answer(position=str(offered["order"].index(self.choices[-1])))


def test_tasks_that_change_between_two_starts_are_refused(hall: Open, tmp_path: Path) -> None:
    """Else a person who had begun would go on with other tasks."""
    tasks = tmp_path / "tasks.csv"
    tasks.write_text("goal_prompt,prompt\n" + 4 * "one red star,a star\n")
    house = hall("conditions=[images:random-bucket]", *SMALL, f"env.suite=csv:{tasks}")
    house.again()
    tasks.write_text("goal_prompt,prompt\n" + 4 * "one red ring,a ring\n")
    with pytest.raises(ValueError, match="images:random-bucket has changed since people began: its tasks"):
        house.again()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("PRAGMA user_version = 0", ""),
        ("UPDATE events SET data = '{' WHERE kind = 'consented'", "event 1 is damaged"),
        ("DROP TABLE events", "it has no events"),
        (6000, "malformed|not a database"),
        (0, "is empty: its answers are lost"),
    ],
)
def test_a_damaged_log_is_refused_by_name(hall: Open, harm: str | int, message: str) -> None:
    house = hall("conditions=[images:random-bucket]", *SMALL)
    house.person().answer()
    house.store.close()
    database = house.folder / "study.sqlite"
    if isinstance(harm, str):
        with closing(sqlite3.connect(database)) as log, log:
            log.execute(harm)
    else:
        database.write_bytes(database.read_bytes()[:harm])
    if not message:
        house.again()
        return
    with pytest.raises(DamagedError, match=rf"study\.sqlite .*({message})"):
        house.again()


def test_a_person_plays_what_a_simulated_user_plays(hall: Open) -> None:
    """Goal, first image, scales and noise are those of an evaluation, so that choices lead to the same images."""
    house = hall("conditions=[images:published]", "sessions=1")
    chooser = Chooser(house.person())
    chooser.play()
    (trace,) = traces_of(house.study, house.store)
    options = {"suite": "tiles-test-v1", "judges": ["pixel-correlation"], "generator": "tiles:steps=1"}
    policy = load_policy("published")
    assert not isinstance(policy, Prompter)
    (expected,) = play(make_env(1, **options), [policy], [0], [evaluation_seed(0)])
    assert trace.choices == expected.choices == chooser.choices
    assert trace.scales == expected.scales
    assert trace.similarities == pytest.approx(expected.similarities, abs=1e-5)
    assert trace.judged["pixel-correlation"] == pytest.approx(expected.judged["pixel-correlation"], abs=1e-5)
    assert (trace.mechanism, trace.policy, trace.images) == (expected.mechanism, expected.policy, expected.images)
    assert (trace.episode_seed, trace.metric) == (expected.episode_seed, expected.metric)
    assert trace.human == "person-1"


class Writer:
    """Writes what a person wrote."""

    name, training_seed = "person", -1

    def __init__(self, prompts: list[str]) -> None:
        self._prompts = prompts

    def start(self, tasks: object, episode_seeds: object) -> None:
        pass

    def write(self, prompts: list[list[str]], similarities: np.ndarray) -> list[str]:
        return [self._prompts[len(prompts[0])]]


def test_prompts_lead_where_they_lead_in_the_environment(hall: Open) -> None:
    house = hall('conditions=["text:attempts=3"]', "sessions=1")
    person, prompts = house.person(), ["nine red stars", "nine blue stars", "one blue star"]
    person.play(until="write")
    for prompt in prompts:
        person.answer(prompt=prompt)
    person.play()
    (trace,) = traces_of(house.study, house.store)
    env = make_text_env(1, suite="tiles-test-v1", rounds=2, generator="tiles:steps=1")
    task = env.suite[0]
    env.suite = [type(task)(**{**vars(task), "prompt": prompts[0]})]  # type: ignore[assignment]
    (expected,) = play(env, [Writer(prompts)], [0], [evaluation_seed(0)])
    assert trace.prompts == expected.prompts == prompts
    assert trace.similarities == pytest.approx(expected.similarities, abs=1e-5)
    assert (trace.mechanism, trace.human, trace.images) == ("text", "person-1", expected.images)


def test_a_killed_server_finds_the_same_screen_and_the_same_images_in_every_state(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket,text]", "sessions=2", "design=within", "env.rounds=2")
    person, seen = house.person(), []
    while step := person.step:
        screen = person.page
        shown = [picture(person, item) for item in ("goal", "0") if f"/{step}/{item}.png" in screen]
        house.again()
        assert person.page == screen
        for before, item in zip(shown, ("goal", "0"), strict=False):
            np.testing.assert_array_equal(before, picture(person, item))
        seen.append(step)
        person.answer()
    assert len(seen) == len(set(seen)) > 10
    assert len(traces_of(house.study, house.store)) == 2


def test_a_session_played_again_from_its_log_makes_the_same_images(hall: Open) -> None:
    """A worker without memory plays earlier rounds again: the images that follow are those that would have been."""
    whole, parted = hall("conditions=[images:random-bucket]", *SMALL), hall("conditions=[images:random-bucket]", *SMALL)
    images = []
    for house in (whole, parted):
        person = house.person()
        person.play(until="chosen.1")
        if house is parted:
            house.again()
        images.append([picture(person, str(item)).astype(int) for item in range(3)])
        person.play()
    assert np.abs(np.subtract(*images)).max() <= 1
    traces = [traces_of(house.study, house.store)[0] for house in (whole, parted)]
    assert traces[0].scales == traces[1].scales
    assert traces[0].similarities == pytest.approx(traces[1].similarities, abs=1e-5)


def test_double_clicks_second_tabs_and_the_back_button_count_once(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", *SMALL)
    person = house.person()
    person.play(until="chosen.0")
    form = {**fields(person.page), "position": "0"}
    replies = [house.client.post(person.path, data={**form, "position": place}) for place in ("0", "2", "1")]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert house.store.log(1)[0, "chosen", 0]["position"] == 0
    assert "chosen.1" in person.step
    house.client.post(person.path, data=form)
    assert "chosen.1" in person.step
    person.play()
    assert len(traces_of(house.study, house.store)[0].choices) == 2


def test_withdrawing_deletes(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", *SMALL)
    stays, leaves = house.person(), house.person()
    for person in (stays, leaves):
        person.play(until="chosen.1")
    page = house.client.get(f"{leaves.path}/withdraw").text
    assert "Withdraw?" in page
    assert house.client.post(f"{leaves.path}/withdraw", data=fields(page)).status_code == 200
    assert house.client.get(leaves.path).status_code == 404
    with house.store.transaction() as db:
        for table in ("events", "pictures", "queue"):
            assert not db.execute(f"SELECT 1 FROM {table} WHERE person = 2").fetchall()
    stays.play()
    assert len(traces_of(house.study, house.store)) == 1
    for file in house.folder.glob("study.sqlite*"):
        assert leaves.token.encode() not in file.read_bytes()


def test_who_declines_leaves_nothing_to_play(hall: Open) -> None:
    person = hall("conditions=[images:random-bucket]", *SMALL).person()
    person.answer(agrees="no")
    assert "You don’t take part" in person.page
    assert not person.step


def test_a_person_who_waits_is_told_the_place_in_the_queue(hall: Open) -> None:
    house = hall("conditions=[images:random-bucket]", *SMALL)
    people = [house.person() for _ in range(2)]
    for person in people:
        for _ in range(2):
            form = fields(house.client.get(person.path).text)
            house.client.post(person.path, data={**form, "agrees": "yes"})
    start = time.monotonic()
    assert "You are number 2 in the queue" in house.client.get(people[1].path).text
    assert time.monotonic() - start > 1
    assert house.client.get(f"{people[0].path}/state").json()["place"] == 1
    house.worker.turn()
    assert house.client.get(f"{people[1].path}/state").json() == {"step": "0.steer.chosen.0", "place": 0}


def test_images_made_ahead_are_those_that_would_have_been(hall: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each choice, under a mechanism with a memory of its own and a policy with random draws."""
    specs = 'conditions=["images:random-bucket,mechanism=bayesian:pool=6"]'
    houses, found = [hall(specs, "sessions=1", "env.rounds=3") for _ in range(2)], []
    made = spied(houses[0], monkeypatch)
    for house, ahead in zip(houses, (False, True), strict=True):
        people, images = [house.person() for _ in range(3)], []
        for person in people:
            person.play(until="chosen.0")
        for place in range(3):
            while ahead and house.worker.ahead():
                pass
            before = len(made)
            for choice, person in enumerate(people):
                offered = house.store.log(choice + 1)[0, "offered", place]
                person.answer(position=str(offered["order"].index((choice + place) % 3)))
                if f"chosen.{place + 1}" in person.step:
                    images.append([picture(person, str(item)).astype(int) for item in range(3)])
            assert not (ahead and len(made) > before), "nothing is left to be made"
        for person in people:
            person.play()
        assert house.worker.ahead() is False
        found.append((images, traces_of(house.study, house.store)))
    for plain, early in zip(*(images for images, _ in found), strict=True):
        assert np.abs(np.subtract(plain, early)).max() <= 1
    for plain, early in zip(*(traces for _, traces in found), strict=True):
        assert (plain.scales, plain.choices, plain.images) == (early.scales, early.choices, early.images)
        assert plain.propensities == early.propensities
        assert plain.similarities == pytest.approx(early.similarities, abs=1e-5)
        assert plain.judged["pixel-correlation"] == pytest.approx(early.judged["pixel-correlation"], abs=1e-5)


def spied(house: Hall, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Receives how many images workers make, each time that they make some."""
    (stage,) = house.worker._stages.values()
    generator, made = stage.dynamics.generator, []
    own = generator.generate

    def generate(latents: torch.Tensor, conditioning: object) -> torch.Tensor:
        made.append(len(latents))
        return own(latents, conditioning)  # type: ignore[arg-type]

    monkeypatch.setattr(generator, "generate", generate)
    return made
