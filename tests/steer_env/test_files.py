"""Files are written whole or not at all, and never through a link that lies in wait."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from agents.files import write_json
from experiments.run.folder import is_claimed
from steer_env.files import write_atomically
from steer_env.policies import TablePolicy
from tests.test_imports import PACKAGES, ROOT


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the reader's, that must stay as it is."""
    path = tmp_path / "profile"
    path.write_text("mine")
    return path


@pytest.mark.parametrize("name", ["policy.json", "policy.json.partial", "policy.partial"])
def test_a_policy_is_not_written_through_a_link(tmp_path: Path, victim: Path, name: str) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    TablePolicy.schedule("mine", [0.5]).save(folder)
    assert victim.read_text() == "mine"
    assert not (folder / "policy.json").is_symlink()


@pytest.mark.parametrize("name", ["result.json", "result.partial", "result.json.partial"])
def test_json_is_not_written_through_a_link(tmp_path: Path, victim: Path, name: str) -> None:
    (tmp_path / name).symlink_to(victim)
    write_json({"a": np.float64(0.5)}, tmp_path / "result.json")
    assert victim.read_text() == "mine"
    assert (tmp_path / "result.json").read_text() == '{\n "a": 0.5\n}\n'


def test_asking_whether_a_run_is_at_work_writes_nothing(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "run.lock").symlink_to(victim)
    assert not is_claimed(tmp_path)
    (tmp_path / "run.lock").unlink()
    (tmp_path / "run.lock").symlink_to(tmp_path / "new")
    assert not is_claimed(tmp_path)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_what_fails_leaves_the_former_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, "former")

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_atomically(path, fail)
    assert [each.name for each in path.parent.iterdir()] == ["file"]
    assert path.read_text() == "former"


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    def fill(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*wanted'"):
        write_atomically(tmp_path / "wanted", fill)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_files_have_the_permissions_that_others_have(tmp_path: Path) -> None:
    """A folder may be shared: a temporary file that only its owner may read would be no use to the others."""
    write_atomically(tmp_path / "ours", b"")
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_nothing_else_makes_temporary_names() -> None:
    """The one helper is used everywhere: names ending in .partial stand in it alone, but for folders."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
            found = [text for text in texts if isinstance(text, str) and text.endswith(".partial")]
            # The attack plants such a name in a submission.
            allowed = ([], ["unet.partial", "unet.partial"], ["policy.json.partial", "policy.partial"])
            assert path.name == "files.py" or found in allowed, path
