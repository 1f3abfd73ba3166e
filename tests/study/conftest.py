from pathlib import Path

import pytest

from tests.study.small_release import write_release


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder with a small release, the test's own to damage."""
    return write_release(tmp_path / "release")
