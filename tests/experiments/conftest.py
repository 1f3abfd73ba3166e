"""Running experiments as a user does."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.run.released.small_release import write_release


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs an experiment's main with a command line, in this process; errors come through."""

    def run(main: Callable[[], None], *overrides: str) -> None:
        monkeypatch.setattr(sys, "argv", ["experiment", *overrides])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        main()

    return run


@pytest.fixture
def refuses(command: Callable[..., None], tmp_path: Path) -> Callable[..., None]:
    """Runs a command that must refuse its options in these words, before it makes its folder."""

    def run(main: Callable[[], None], message: str, *overrides: str, error: Any = ValueError) -> None:
        with pytest.raises(error, match=message):
            command(main, f"folder={tmp_path / 'new'}", *overrides)
        assert not (tmp_path / "new").exists()

    return run


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder with a small release of the study, the test's own to damage."""
    return write_release(tmp_path / "release")
