import re
from collections.abc import Callable

import pytest
import torch

from experiments import throughput
from experiments.throughput import SIZES, operations


def test_a_small_generator_is_measured_against_the_plain_pipeline_and_the_hardware(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("size=small", "device=cpu", "dtype=float32", "steps=2", "batches=[1,4]", "repeats=1")
    command(throughput.main, *small, "channels_last=true", "decode_batch=2")
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| (1|4|plain pipeline) +\| ([\d.]+) +\|", printed, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["1", "4", "plain pipeline"]
    assert all(float(rate) > 0 for _, rate in rows)
    assert re.search(r"60,000 episodes of 10 images would take [\d.]+ h on one such device", printed)
    assert "channels_last=True, compile=, tf32=False, decode_batch=2" in printed


def test_what_an_image_of_stable_diffusion_costs() -> None:
    """Counted elsewhere at 512 × 512: 0.803 TFLOP a pass of the UNet, 2.51 to decode."""
    denoiser, decoder = operations(SIZES["sd14"])
    assert denoiser == pytest.approx(0.803e12, rel=0.01)
    assert decoder == pytest.approx(2.51e12, rel=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_isnt_there_is_said_before_any_work(command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="there is no GPU that torch can use here: device=cpu size=small"):
        command(throughput.main)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("size=sd15", "unknown size 'sd15'; did you mean 'sd14'"),
        ("dtype=int8", "unknown dtype 'int8'"),
        ("batches=[]", "batches must have at least 1 entries"),
    ],
)
def test_what_cant_be_measured_is_refused(command: Callable[..., None], option: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command(throughput.main, option)
