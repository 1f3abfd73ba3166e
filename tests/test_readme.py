"""What the README and the pages beside it tell a reader to type works."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from experiments.run.command import _quoted, check_overrides
from experiments.run.options import CONF

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FIRST = re.compile(r"^([^=]+=[^\[{,]+),.*$")
"""Of the values that a sweep goes through."""
SMALL = {
    "train": ["episodes=8", "batch=8"],
    "evaluate": ["tasks=2", "strips=0"],
    "leaderboard": ["tasks=2", "timed_tasks=1", "resamples=50", "strips=0"],
    "sweep_status": [],
}


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def commands(page: str = README) -> list[list[str]]:
    lines = [line for block in blocks("bash", page) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if "python -m experiments." in line]


def arguments(words: list[str]) -> tuple[str, list[str]]:
    """Name of the experiment, and its options."""
    start = words.index("-m") + 1
    return words[start].removeprefix("experiments."), [word for word in words[start + 1 :] if word != "--multirun"]


def small(program: str) -> str:
    return program.replace("range(30)", "range(2)").replace("tasks=200", "tasks=2")


@pytest.mark.slow
def test_the_python_examples_run_from_the_wheel(tmp_path: Path) -> None:
    """In an empty folder, and without the checkout's packages."""
    for name in ("steer_env", "pyproject.toml", "README.md", "LICENSE"):
        place = tmp_path / "source" / name
        place.parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, place)
    built, installed, empty = (tmp_path / name for name in ("built", "installed", "empty"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", str(built), str(tmp_path / "source")], check=True)
    # To install a wheel without scripts is to unpack it.
    (wheel,) = built.iterdir()
    shutil.unpack_archive(wheel, installed, "zip")
    empty.mkdir()
    program = "\n".join([*map(small, blocks("python")), "print(steer_env.__file__)"])
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=empty, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert printed.splitlines()[-1] == str(installed / "steer_env" / "__init__.py")
    assert "mixture scale of each round:" in printed
    assert "mine" in printed
    assert list(empty.rglob("report.html"))


@pytest.mark.usefixtures("blots")
def test_the_commands_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    played = [words for words in commands() if not re.search("/path/to/|localhost", " ".join(words))]
    assert played
    for words in played:
        name = words[2].removeprefix("experiments.")
        if name in SMALL:
            monkeypatch.setattr(sys, "argv", [name, *words[3:], *SMALL[name]])
            main: Callable[[], None] = import_module(words[2]).main
            main()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_understood(page: Path) -> None:
    for name, words in map(arguments, commands(page.read_text())):
        folder = ROOT / "experiments" / name
        main: Any = import_module(f"experiments.{name}.__main__" if folder.is_dir() else f"experiments.{name}").main
        check_overrides(name, main.options, words)
        if "--help" in words or any(word.startswith("hydra.searchpath=") for word in words):
            continue
        with initialize_config_dir(str(CONF), version_base="1.3"):
            compose(name, [_quoted(_FIRST.sub(r"\1", word)) for word in words])


def test_the_readme_is_short_and_names_every_command() -> None:
    assert len(README.splitlines()) <= 150
    assert len(blocks("python")[0].strip().splitlines()) <= 14
    table = README.partition("## All commands")[2]
    for path in (ROOT / "experiments").iterdir():
        if path.name not in ("__init__.py", "run") and (path.suffix == ".py" or (path / "__main__.py").exists()):
            assert f"`{path.stem}`" in table, path.stem


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in "\n".join(blocks("bash")).splitlines():
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
