import re
from collections.abc import Callable

import pytest

from experiments import bench


def test_the_benchmark_prints_its_table(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(bench.main, "sizes=[1,4]", "episodes=4", "reference_episodes=1", "repeats=1")
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if re.match(r"\| (1|4|reference)", line)]
    assert len(rows) == 3
    assert re.search(r"\| overhead +\|", printed)


def test_the_benchmark_refuses_what_its_reference_cannot_play(command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="the reference loop plays the embedded generator tiles, not stable-diffusion"):
        command(bench.main, "generator=stable-diffusion", "generator.path=elsewhere")
