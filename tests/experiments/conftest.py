"""Running experiments as a user does."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.your_generator import Blots
from steer_env.registry import Loaded
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
def release(tmp_path: Path) -> Path:
    """A folder with a small release of the study, the test's own to damage."""
    return write_release(tmp_path / "release")


@pytest.fixture(scope="module")
def blots() -> Iterator[None]:
    """The embedded model makes blots, which cost next to nothing: for commands whose images don't matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steer_env.generators.LOADED", Loaded())
        patch.setattr("steer_env.tiles.generator.load", lambda **_: Blots())
        patch.setattr(Blots, "fingerprint", lambda blots: blots.id, raising=False)
        yield
