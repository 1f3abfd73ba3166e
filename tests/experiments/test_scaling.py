import re
from collections.abc import Callable

import pytest

from experiments import scaling


@pytest.mark.slow
def test_the_scaling_is_measured_on_gpus_that_wait(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    command(scaling.main, "counts=[1]", "batches=2", "shard=2", "limit_batches=4", "images_per_second=50", "gpus=2")
    printed = capsys.readouterr().out
    row = re.search(r"^\| 1 +\| 50.00 +\| ([\d.]+) \(\d+%\) +\| ([\d.]+) ", printed, flags=re.MULTILINE)
    assert row
    images, episodes = map(float, row.groups())
    assert 0 < images <= 50
    assert episodes == pytest.approx(images / scaling.IMAGES, abs=0.01)
    assert re.search(r"2 GPUs of 50 images/s need 100: [\d.]+ times", printed)
