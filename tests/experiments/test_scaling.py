import re
from collections.abc import Callable

import pytest

from experiments import scaling


@pytest.mark.slow
def test_the_scaling_is_measured_on_gpus_that_wait(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(scaling.main, "counts=[1]", "batches=3", "part=2", "limit_batches=8", "episodes_per_second=10", "gpus=2")
    printed = capsys.readouterr().out
    rates = re.search(r"^\| 1 +\| 10.00 +\| ([\d.]+) \(\d+%\) +\| ([\d.]+) ", printed, flags=re.MULTILINE)
    assert rates
    assert all(0 < float(rate) <= 10 for rate in rates.groups())
    assert re.search(r"2 GPUs of 10 episodes/s need 20 episodes/s, \d+ times less", printed)
