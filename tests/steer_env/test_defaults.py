"""Other libraries may change torch's default dtype, device and precision: what is played doesn't depend on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from steer_env import generators, metrics
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.proposals import draw_latents


def as_some_library_does() -> None:
    """On the device called meta, there are no numbers."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_float32_matmul_precision("medium")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """What was loaded under other defaults is loaded anew."""
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_float32_matmul_precision("highest")
    forget()


def forget() -> None:
    generators.LOADED.forget()
    metrics.LOADED.forget()


def episodes(**options: Any) -> list[Any]:
    env = ImageSteeringVectorEnv(3, rounds=2, **options)
    env.reset(seed=0)
    return [env.step(np.array(actions))[-1]["similarities"] for actions in ([9, 4, 0], [2, 6, 8])]


def test_latents_are_those_of_the_seed() -> None:
    before = draw_latents([3], (4, 8, 8))
    as_some_library_does()
    assert draw_latents([3], (4, 8, 8)).dtype == torch.float32
    assert torch.equal(draw_latents([3], (4, 8, 8)), before)


def test_anothers_autocast_changes_nothing() -> None:
    """As where a training loop steps the environment inside its own."""
    before = episodes(mechanism="bayesian:pool=8")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        after = episodes(mechanism="bayesian:pool=8")
        assert torch.is_autocast_enabled("cpu")
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="an older torch has one way to set it")
def test_precision_may_be_set_in_torchs_newer_way() -> None:
    before, place = episodes(), torch.backends.mkldnn.matmul
    usual, place.fp32_precision = place.fp32_precision, "bf16"
    try:
        after = episodes()
        assert place.fp32_precision == "bf16"
    finally:
        place.fp32_precision = usual
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mechanism": "bayesian:pool=8"},
        {"mechanism": "fresh"},
        {"human": "softmax"},
        {"human": "hesitant"},
        {"judges": ["pixel-correlation"], "generator": "tiles:solver=dpm++,guidance_scale=2.0"},
        {"generator": "tiles:solver=euler"},
        {"generator": "tiles:solver=unipc"},
    ],
)
def test_episodes_are_the_same(options: dict[str, Any]) -> None:
    before = episodes(**options)
    as_some_library_does()
    forget()
    after = episodes(**options)
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours, theirs)
