"""The house of commands, as a test: one command, one room, and no room looks into another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_imports import ROOT, imported

EXPERIMENTS = ROOT / "experiments"
FILES = [path for path in sorted(EXPERIMENTS.glob("*.py")) if path.name != "__init__.py"]
FOLDERS = [path.parent for path in sorted(EXPERIMENTS.glob("*/__init__.py")) if path.parent.name != "run"]


def modules(room: Path) -> Iterator[Path]:
    yield from sorted(room.rglob("*.py")) if room.is_dir() else [room]


@pytest.mark.parametrize("path", [*FILES, *(folder / "__main__.py" for folder in FOLDERS)], ids=str)
def test_every_file_and_every_folder_is_a_command(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n@command(") == 1
    assert text.endswith('if __name__ == "__main__":\n    main()\n')


@pytest.mark.parametrize("room", [*FILES, *FOLDERS], ids=lambda room: room.stem)
def test_no_command_imports_another(room: Path) -> None:
    for path in modules(room):
        for name in imported(path):
            top, _, rest = name.partition(".")
            if top == "experiments":
                assert rest.split(".")[0] in ("", "run", room.stem), f"{path.name} imports {name}"


def test_what_commands_share_imports_no_command() -> None:
    for path in modules(EXPERIMENTS / "run"):
        for name in imported(path):
            assert not name.startswith("experiments.") or name.startswith("experiments.run"), f"{path} imports {name}"


@pytest.mark.parametrize("command", ["train", "lottery", "study"])
def test_help_and_a_wrong_option_are_answered_before_anything_heavy_is_imported(command: str) -> None:
    for argument, status in (("--help", 0), ("nosuchoption=1", 2)):
        program = [sys.executable, "-X", "importtime", "-m", f"experiments.{command}", argument]
        ran = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
        assert ran.returncode == status
        loaded = {
            line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")
        }
        assert "hydra" in loaded
        assert not loaded & {"torch", "diffusers", "transformers", "matplotlib", "scipy"}
