"""The site has a page for everything that a user can name, and its links are checked."""

import dataclasses
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import steer_env
from docs.site.links import dead_links
from docs.site.pages import CATALOGUE, ROOT, commands, modules, pages, table
from docs.site.stage import sources, stage
from experiments.run.options import PARTS, choices

PAGES = pages()


def paths(folder: str, names: Any) -> set[str]:
    return {f"reference/{folder}/{name}" for name in names}


def test_every_environment_has_a_page() -> None:
    ids = [name for name in gym.registry if name.startswith("steer_env/")]
    assert ids
    assert paths("environments", (name.partition("/")[2] for name in ids)) <= PAGES.keys()


def test_every_public_name_has_a_page() -> None:
    assert paths("api", steer_env.__all__) <= PAGES.keys()
    assert paths("modules", modules()) <= PAGES.keys()
    assert {f"steer_env.{path.stem}" for path in (ROOT / "steer_env").glob("[!_]*.py")} <= set(modules())


def test_every_registered_part_has_a_page_with_all_its_options() -> None:
    found = {id(parts) for _, _, parts in CATALOGUE.values()}
    assert {id(parts) for name, parts in PARTS.items() if name != "writer"} <= found
    for folder, (_, _, parts) in CATALOGUE.items():
        for name, part in parts.items():
            text = PAGES[f"reference/{folder}/{name}"]()
            for field in dataclasses.fields(part.options):
                assert f".{field.name}` |" in text, f"{folder}/{name} lacks {field.name}"


def test_every_choice_of_conf_has_a_page() -> None:
    for group in (path.name for path in (ROOT / "conf").iterdir() if path.is_dir()):
        assert paths(group, choices(group)) <= PAGES.keys()


def test_every_command_has_a_page_with_all_its_options() -> None:
    found = {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py")}
    assert paths("commands", found) <= PAGES.keys()
    for name, module in commands().items():
        options: Any = import_module(module).main.options  # type: ignore[attr-defined]
        text = PAGES[f"reference/commands/{name}"]()
        for field in dataclasses.fields(options):
            assert f"`{field.name}" in text, f"{name} lacks {field.name}"


def test_every_file_of_docs_is_on_the_site_and_in_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.site.stage.pages", lambda: {})
    stage(tmp_path)
    staged = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}
    assert {place.as_posix() for place in sources().values()} <= staged
    contents = "\n".join(path.read_text() for path in tmp_path.rglob("*.md"))
    for place in sources().values():
        if place.name != "index.md":
            stem = place.with_suffix("")
            assert f"\n{stem}\n" in contents or f"\n{stem.name}\n" in contents, place


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#there">b</a><a href="https://x.org">x</a>')
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="a.html#no">a</a><img src="c.png"><a href="#">t</a>')
    assert dead_links(tmp_path) == ["b.html: a.html#no", "b.html: c.png"]


def test_a_table_keeps_its_columns() -> None:
    assert table([["a", "b"], ["x | y", "two\nlines"]]).splitlines()[-1] == "| x \\| y | two lines |"


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("plot_*.py"))


@pytest.mark.slow
@pytest.mark.usefixtures("blots")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebooks_run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As they stand, but for the model, each drawing something unless its data isn't here; `make docs` shows all."""
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.close("all")
    scope = runpy.run_path(str(path))
    assert plt.get_fignums() or scope.get("traces") == []
    plt.close("all")
