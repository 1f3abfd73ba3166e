"""torchvision's absence, and what else may be wrong with it; a build for another torch is met by ``conftest.py``."""

import sys
from pathlib import Path

import pytest

from steer_env.compatibility import mend_torchvision


@pytest.fixture
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)


def test_it_may_be_done_again() -> None:
    mend_torchvision()
    mend_torchvision()


@pytest.mark.usefixtures("_forgotten")
def test_another_error_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text('raise RuntimeError("something else")')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="something else"):
        mend_torchvision()


@pytest.mark.usefixtures("_forgotten")
def test_without_it_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    mend_torchvision()
    assert "torchvision" not in sys.modules
