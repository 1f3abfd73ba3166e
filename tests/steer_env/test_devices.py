"""Where models run, and in which precision, without being told."""

from __future__ import annotations

import pytest
import torch

from steer_env.devices import resolve_dtype


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_a_gpu_computes_in_the_half_precision_that_it_has(
    capability: tuple[int, int], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_dtype("auto", "cuda:1") == expected
    assert resolve_dtype("float32", "cuda") == torch.float32


def test_elsewhere_it_is_float32() -> None:
    assert resolve_dtype("auto") == resolve_dtype("auto", "cpu") == torch.float32
