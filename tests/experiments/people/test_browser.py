"""Whole sessions in a real browser, by click and by key; and what axe says of every page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.people.export import finished, traces_of
from steer_env.humans.writers import Writer
from tests.experiments.people.conftest import Hall
from tests.experiments.people.served import Served
from tests.experiments.run.headlines.conftest import metric_folder, model, model_folder

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra people isn't installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)

__all__ = ["metric_folder", "model", "model_folder"]
pytestmark = pytest.mark.slow
Open = Callable[..., Hall]
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MINUTE = 60_000
CHECKED: set[str] = set()
"""What the screens say, but for numbers, that axe has seen: those of one kind differ in their images alone."""


@pytest.fixture
def serve(hall: Open) -> Iterator[Callable[..., Served]]:
    served: list[Served] = []

    def opened(*overrides: str, **options: Any) -> Served:
        served.append(Served(hall(*overrides, **options)))
        return served[-1]

    yield opened
    for each in served:
        each.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Visitor:
    """A person at a browser, who may reload wherever there is something to see; nothing may go wrong there."""

    def __init__(self, chromium: Any, url: str, reload: bool = False, axe: bool = False, **options: Any) -> None:
        self.context = chromium.new_context(viewport=WIDE, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(MINUTE)
        self._reload, self._axe, self.seen = reload, axe, []
        self.page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
        self.page.on("console", self._heard)
        self.outside: list[str] = []
        self.page.on("request", lambda request: self.outside.append(request.url))
        self.page.goto(url)
        self.check()
        self.page.get_by_role("button", name="Begin").click()
        self.page.wait_for_url("**/s/*")
        self.look()

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            pytest.fail(message.text)

    @property
    def step(self) -> str:
        return str(self.page.evaluate("document.body.dataset.step ?? ''"))

    def wait(self, before: str) -> None:
        """Until the screen is another one, and isn't waiting."""
        self.page.wait_for_function(
            "before => document.readyState === 'complete' && document.body.dataset.step !== before"
            " && !document.body.dataset.step.includes('.wait.')",
            arg=before,
        )
        self.look()

    def look(self) -> None:
        """Reload, if that is the test; and let axe look at both widths, in light and dark."""
        step = self.step
        self.seen.append(step)
        if self._reload:
            self.page.reload()
            assert self.step == step
        self.page.wait_for_load_state("networkidle")
        broken = self.page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
        assert not broken
        self.check()

    def check(self) -> None:
        screen = re.sub(r"\d+", "", f"{self.step} {self.page.inner_text('body')}")
        if not self._axe or screen in CHECKED:
            return
        CHECKED.add(screen)
        from axe_playwright_python.sync_playwright import Axe

        for scheme, size in (("light", WIDE), ("dark", PHONE)):
            self.page.emulate_media(color_scheme=scheme)
            self.page.set_viewport_size(size)
            found = Axe().run(self.page, options={"runOnly": TAGS})
            assert found.violations_count == 0, f"{self.page.url} {self.step}: {found.generate_report()}"
            overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{self.step} is wider than the window"
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(WIDE)

    def click(self, name: str) -> None:
        before = self.step
        self.page.get_by_role("button", name=name).first.click()
        self.wait(before)

    def press(self, *keys: str) -> None:
        before = self.step
        for key in keys:
            self.page.keyboard.press(key)
        self.wait(before)

    def tab_to(self, name: str) -> None:
        """Go to a button by the tab key alone."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            text = self.page.evaluate("document.activeElement.textContent")
            if name in text and self.page.evaluate("document.activeElement.tagName") == "BUTTON":
                outline = self.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", "focus must be visible"
                return
        pytest.fail(f"no button {name!r} within reach of the tab key")


def test_choosing_images_by_click_with_a_reload_in_every_state(serve: Callable[..., Served], chromium: Any) -> None:
    served = serve("conditions=[images:random-bucket]", "sessions=1", "env.rounds=3")
    visitor = Visitor(chromium, served.url, reload=True)
    visitor.click("I agree")
    visitor.click("Start")
    for place in range(3):
        visitor.page.locator("button.option").nth(place).click()
        visitor.wait(visitor.seen[-1])
    visitor.click("Finish")
    assert "Thank you" in visitor.page.content()
    (trace,) = traces_of(served.house.study, served.house.store)
    log = served.house.store.log(1)
    assert trace.choices == [log[0, "offered", place]["order"][place] for place in range(3)]
    chosen = log[0, "chosen", 1]
    assert 0 < chosen["ms"] < 60_000
    assert chosen["loaded"] > 0
    assert (chosen["width"], chosen["height"]) == (1280, 800)
    assert all(url.startswith((served.url, "data:")) for url in visitor.outside)
    visitor.context.close()


def test_choosing_images_by_keyboard_alone_and_axe_finds_nothing(serve: Callable[..., Served], chromium: Any) -> None:
    served = serve("conditions=[images:random-bucket]", "sessions=1", "env.rounds=3", "attention=1")
    visitor = Visitor(chromium, served.url, axe=True)
    for name in ("I agree", "Start"):
        visitor.tab_to(name)
        visitor.press("Enter")
    keys, played = {"chosen": ["1", " ", "3"], "checked": ["2"]}, []
    while "steer" in visitor.step:
        kind = visitor.step.split(".")[2]
        if kind == "checked":
            order = served.house.store.log(1)[0, "offered", 0]["order"]
            assert len(order) == 3
        played.append(keys[kind].pop(0))
        visitor.press(played[-1])
    visitor.tab_to("Finish")
    visitor.press("Enter")
    log = served.house.store.log(1)
    assert log[0, "chosen", 0]["position"] == 0
    assert log[0, "chosen", 1]["choice"] == 0, "space keeps the image"
    assert log[0, "chosen", 2]["position"] == 2
    assert played.count("2") == 1
    visitor.context.close()


def test_writing_prompts_and_axe_finds_nothing(serve: Callable[..., Served], chromium: Any) -> None:
    served = serve('conditions=["text:attempts=3,choose=[seed,guidance]"]', "sessions=1")
    visitor = Visitor(chromium, served.url, axe=True, reload=True)
    visitor.click("I agree")
    visitor.click("Start")
    prompts = ["nine red stars", "nine red & blue <stars>", "one “blue” star"]
    for place, prompt in enumerate(prompts):
        assert visitor.page.get_by_role("textbox").first.input_value() == (prompts[place - 1] if place else "")
        visitor.page.get_by_role("textbox").first.fill(prompt)
        visitor.page.get_by_label("Seed").fill(str(place))
        visitor.click("Make the image")
    visitor.click("Go on")
    visitor.click("Finish")
    (trace,) = traces_of(served.house.study, served.house.store)
    assert trace.prompts == prompts
    assert trace.seeds == [0, 1, 2]
    visitor.context.close()


def test_headlines_with_forbidden_words_as_one_types(
    serve: Callable[..., Served], chromium: Any, tmp_path: Path, model_folder: Path, metric_folder: Path, model: Writer
) -> None:
    rows = [f"dark stars {i},,red rain" for i in range(4)]
    (tmp_path / "own.csv").write_text("\n".join(["original,goal_prompt,goal", *rows]) + "\n")
    spec = f'conditions=["headlines:suite=csv:{tmp_path / "own.csv"},attempts=2"]'
    served = serve(spec, "sessions=1", f"sentences.path={metric_folder}", model=model)
    visitor = Visitor(chromium, served.url, axe=True, reload=True)
    visitor.click("I agree")
    visitor.click("Start")
    visitor.page.get_by_role("textbox").type("let it rain")
    visitor.page.get_by_text("Not allowed, as only the goal has it: rain").wait_for()
    visitor.page.get_by_role("button", name="Rewrite").click()
    visitor.page.get_by_text("Please say it in other words").wait_for()
    visitor.check()
    for words in ("make it wet", "make it wetter"):
        visitor.page.get_by_role("textbox").fill(words)
        before = visitor.step
        visitor.page.get_by_role("textbox").press("Tab")
        visitor.page.get_by_role("button", name="Rewrite").press("Enter")
        visitor.wait(before)
    visitor.click("Go on")
    visitor.click("Finish")
    (trace,) = traces_of(served.house.study, served.house.store)
    assert [prompt.rpartition(": ")[2] for prompt in trace.prompts] == ["make it wet", "make it wetter"]
    visitor.context.close()


def test_ratings_by_click_and_by_keyboard_and_axe_finds_nothing(
    hall: Open, serve: Callable[..., Served], chromium: Any
) -> None:
    made = hall("conditions=[images:random-bucket]", "sessions=2", "env.rounds=2")
    made.person().play()
    specs = ",".join(f'"ratings:question={q},of={made.folder},goals=1"' for q in ("similarity", "improvement"))
    served = serve(f"conditions=[{specs}]", "sessions=2", "design=within")
    visitor = Visitor(chromium, served.url, axe=True, reload=True)
    visitor.click("I agree")
    visitor.click("Start")
    while "rated" in visitor.step:
        if ".compare." in visitor.step:
            visitor.press("2")
            continue
        for item in range(4):
            visitor.page.locator(f"input[name=value-{item}]").nth(item).focus()
            visitor.page.keyboard.press(" ")
            visitor.page.keyboard.press("ArrowRight")
        visitor.click("Next")
    visitor.click("Finish")
    rated = {session.events["rated", 0]["question"]: session.events["rated", 0]["values"]
             for session in finished(served.house.study, served.house.store)}  # fmt: skip
    assert rated == {"similarity": [2, 3, 4, 5], "improvement": [0, 1]}
    visitor.context.close()


def test_double_click_second_tab_back_button_and_lost_connection(serve: Callable[..., Served], chromium: Any) -> None:
    served = serve("conditions=[images:random-bucket]", "sessions=1", "env.rounds=4")
    visitor = Visitor(chromium, served.url)
    visitor.click("I agree")
    visitor.click("Start")
    step = visitor.step
    visitor.page.locator("button.option").nth(0).dblclick()
    visitor.wait(step)
    assert "chosen.1" in visitor.step
    other = visitor.context.new_page()
    other.goto(visitor.page.url)
    step = visitor.step
    visitor.page.locator("button.option").nth(2).click()
    visitor.wait(step)
    other.locator("button.option").nth(1).click()
    other.wait_for_function("() => document.body.dataset.step.includes('chosen.2')")
    assert served.house.store.log(1)[0, "chosen", 1]["position"] == 2
    visitor.page.go_back()
    visitor.page.goto(other.url)
    assert "chosen.2" in visitor.step
    visitor.context.set_offline(True)
    step = visitor.step
    visitor.page.locator("button.option").nth(1).click()
    visitor.page.get_by_text("The connection is lost").wait_for()
    assert (0, "chosen", 2) not in served.house.store.log(1)
    visitor.context.set_offline(False)
    visitor.wait(step)
    assert served.house.store.log(1)[0, "chosen", 2]["position"] == 1
    visitor.press("1")
    visitor.click("Finish")
    assert len(traces_of(served.house.study, served.house.store)[0].choices) == 4
    visitor.context.close()


def test_without_scripts_it_works_too(serve: Callable[..., Served], chromium: Any) -> None:
    served = serve("conditions=[images:random-bucket]", "sessions=1", "env.rounds=2")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served.url)
    for name in ("Begin", "I agree", "Start"):
        page.get_by_role("button", name=name).first.click()
    for _ in range(2):
        page.locator("button.option").first.wait_for(timeout=MINUTE)
        page.locator("button.option").nth(1).click()
    page.get_by_role("button", name="Finish").click()
    assert len(traces_of(served.house.study, served.house.store)) == 1
    context.close()


def test_the_researchers_pages_pass_axe_too(serve: Callable[..., Served], chromium: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    served = serve("conditions=[images:random-bucket,images:published]", "sessions=2", "design=within", "env.rounds=2")
    for _ in range(2):
        served.over = True
        served.house.person().play()
    served.over = False
    context = chromium.new_context(viewport=WIDE)
    page = context.new_page()
    page.set_default_timeout(MINUTE)
    page.goto(f"{served.url}/results")
    assert "Paired differences" in page.content()
    for size in (WIDE, PHONE):
        page.set_viewport_size(size)
        for path in ("results", "explore"):
            page.goto(f"{served.url}/{path}")
            found = Axe().run(page, options={"runOnly": TAGS})
            assert found.violations_count == 0, found.generate_report()
    page.get_by_label("Hide the goal").check()
    page.get_by_role("button", name="Begin").click()
    context.close()
