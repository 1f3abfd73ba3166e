"""A study on the embedded model, its worker and its server in this process, and people who answer it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra people isn't installed")

from hydra import compose, initialize_config_dir
from starlette.testclient import TestClient

import experiments.people.__main__  # noqa: F401 (its options are registered)
from experiments.people.app import make_app
from experiments.people.log import Store
from experiments.people.screens import screen_of
from experiments.people.study import Study
from experiments.people.worker import Worker
from experiments.run.command import _typed
from experiments.run.options import CONF
from experiments.run.parts import env_options
from steer_env.humans.writers import Writer

ANSWERS: Mapping[str, Mapping[str, str]] = {
    "consented": {"agrees": "yes"},
    "chosen": {"position": "1"},
    "written": {"prompt": "nine red stars"},
}
HERE = "http://127.0.0.1"
QUICK = ("generator.steps=1",)
"""Images in half the time."""


def options_of(*overrides: str) -> Any:
    """As the command's ``main`` gets them."""
    with initialize_config_dir(str(CONF), version_base=None):
        return _typed(compose("people", list(overrides)))


class Hall:
    """A study and all that serves it, in this process; ``again`` is what a killed server leaves and finds."""

    def __init__(self, folder: Path, *overrides: str, model: Writer | None = None) -> None:
        self.folder, self._overrides = folder, (f"folder={folder}", "goals=4", "places=4", *QUICK, *overrides)
        self._model = model
        self.opened = ExitStack()

    def again(self) -> None:
        """Start server and worker anew, with nothing but what is on the disk."""
        self.opened.close()
        options = options_of(*self._overrides)
        self.study = Study(options)
        store = Store(self.folder, lambda log: screen_of(log, self.study).waits)
        self.store = self.opened.enter_context(closing(store))
        self.worker = Worker(self.study, self.store, env_options(options), self._model)
        app = make_app(self.study, self.store, options)
        self.client = TestClient(app, base_url=HERE, raise_server_exceptions=False)

    def person(self) -> Person:
        """Somebody new, at the consent."""
        page = self.client.get("/")
        page = self.client.post("/arrive", data=fields(page.text))
        return Person(self, page.url.path)


class Person:
    """A browser without JavaScript."""

    def __init__(self, hall: Hall, path: str) -> None:
        self.hall, self.path, self.token = hall, path, path.rpartition("/")[2]

    @property
    def page(self) -> str:
        """What a reload shows; the worker has done all that it can."""
        self.hall.worker.turn()
        return str(self.hall.client.get(self.path).text)

    @property
    def step(self) -> str:
        return fields(self.page).get("step", "")

    def answer(self, **values: str) -> Any:
        """Send the form of the screen, with these values over the usual ones."""
        known = fields(self.page)
        usual = ANSWERS.get(known["step"].split(".")[2], {})
        return self.hall.client.post(self.path, data={**known, **usual, **values}, follow_redirects=False)

    def play(self, until: str = "") -> None:
        """Answer until a step that holds this, or until the end."""
        while (step := self.step) and not (until and until in step):
            self.answer()


def fields(page: str) -> dict[str, str]:
    """Hidden fields of a page's form."""
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.partition("</form>")[0]))


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Callable[..., Hall]]:
    """Opens studies."""
    halls: list[Hall] = []

    def opened(*overrides: str, model: Writer | None = None) -> Hall:
        folder = tmp_path / f"study-{len(halls)}"
        folder.mkdir()
        halls.append(Hall(folder, *overrides, model=model))
        halls[-1].again()
        return halls[-1]

    yield opened
    for each in halls:
        each.opened.close()
