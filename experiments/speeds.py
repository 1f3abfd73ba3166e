"""What is timed: our generator, the plain pipeline, and the device's matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.proposals import draw_latents

_PROMPT = "nine small red star"


def ours(generator: StableDiffusionGenerator, n: int) -> Callable[[], Any]:
    latents = draw_latents(list(range(n)), generator.latent_shape).to(generator.device)
    conditioning = generator.encode([_PROMPT] * n)
    return lambda: generator.generate(latents, conditioning)


def plain(generator: StableDiffusionGenerator) -> Callable[[], Any]:
    options = {"num_inference_steps": generator.steps, "guidance_scale": generator.guidance_scale}
    return lambda: generator.pipeline(_PROMPT, **options)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    side = 8192 if torch.device(device).type == "cuda" else 1024
    one = torch.randn(side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(seconds(lambda: one @ one, device) for _ in range(5))


def seconds(call: Callable[[], Any], device: str) -> float:
    """Of a second call: the first may compile or allocate."""

    def finish() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()

    call()
    finish()
    start = time.perf_counter()
    call()
    finish()
    return time.perf_counter() - start
