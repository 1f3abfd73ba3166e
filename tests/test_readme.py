"""What the README tells a reader to type works."""

import re
import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SMALL = {
    "train": ["episodes=8", "batch=8"],
    "evaluate": ["tasks=2", "strips=0"],
    "leaderboard": ["tasks=2", "timed_tasks=1", "resamples=50", "strips=0"],
    "sweep_status": [],
    "bench": ["sizes=[1]", "episodes=1", "reference_episodes=1", "repeats=1"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("python -m experiments.")]


def test_the_python_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    for block in blocks("python"):
        exec(block.replace("range(30)", "range(2)"), scope)
    assert "mixture scale of each round:" in capsys.readouterr().out
    assert len(blocks("python")[0].strip().splitlines()) <= 14


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


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in "\n".join(blocks("bash")).splitlines():
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE), line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
