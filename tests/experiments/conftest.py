"""Running experiments as a user does."""

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs an experiment's main with a command line, in this process; errors come through."""

    def run(main: Callable[[], None], *overrides: str) -> None:
        monkeypatch.setattr(sys, "argv", ["experiment", *overrides])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        main()

    return run
