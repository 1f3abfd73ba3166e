"""What CONTRIBUTING.md shows works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from steer_env import load_policy, write_traces
from steer_env.evaluation.suites import evaluate

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_parts_pass_their_checks_and_make_environments() -> None:
    scope: dict[str, object] = {"__name__": "contributing"}
    for block in BLOCKS[:-1]:
        exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), scope)
        assert scope["env"]
    assert len(BLOCKS) == 4


def test_no_example_is_long() -> None:
    assert max(len(block.splitlines()) for block in BLOCKS) <= 40


@pytest.fixture
def stays(tmp_path: Path) -> Path:
    """The command's file, in a folder of its own."""
    path = tmp_path / "stays.py"
    path.write_text(BLOCKS[-1])
    return path


def run(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, str(path), *arguments]
    places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(words, capture_output=True, text=True, cwd=path.parent, env={"PYTHONPATH": places})


def test_the_command_explains_itself_and_refuses_what_is_wrong(stays: Path) -> None:
    assert "evaluation  (str, required)" in run(stays, "--help").stdout
    wrong = run(stays, "evaluations=x")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean 'evaluation'?" in wrong.stderr


def test_the_command_reports(stays: Path, tmp_path: Path) -> None:
    for number, traces in enumerate(evaluate([load_policy("constant:0.9")], tasks=2)):
        write_traces(traces, tmp_path / "table" / "traces" / f"{number}.parquet")
    finished = run(stays, f"evaluation={tmp_path / 'table'}", f"folder={tmp_path / 'stays'}")
    assert finished.returncode == 0, finished.stderr
    assert "constant 0.9" in (tmp_path / "stays" / "report.md").read_text()
