"""What makes a diffusion model faster without changing its images, but for rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steer_env.generators.options import DiffusionOptions
from steer_env.registry import Registry

COMPILERS: Registry[dict[str, Any]] = Registry(
    "way to compile",
    {
        "default": {"mode": "default"},
        "reduce-overhead": {"mode": "reduce-overhead"},
        "max-autotune": {"mode": "max-autotune"},
        "eager": {"backend": "eager"},
        "aot_eager": {"backend": "aot_eager"},
    },
)
"""Modes of ``torch.compile``; the last two make nothing faster, and help to find out what goes wrong."""
_RECORDING = ("reduce-overhead", "max-autotune")
_SHAPES = 16
"""Sizes of batches that the compiler may meet: halvings of the largest."""
_ON_CPU, _LARGEST, _FEW, _SHARE = 64, 256, 4, 0.8


@dataclass(frozen=True)
class Speed:
    """The fields of :class:`steer_env.generators.options.DiffusionOptions` that decide how a generator computes.

    Raises:
        ValueError: an unknown way to compile.
    """

    channels_last: bool = DiffusionOptions.channels_last
    compile: str = DiffusionOptions.compile
    tf32: bool = DiffusionOptions.tf32
    decode_batch: int = DiffusionOptions.decode_batch

    def __post_init__(self) -> None:
        if self.compile:
            COMPILERS[self.compile]

    def lay_out(self, *modules: Any) -> None:
        """Bring weights into the memory format."""
        if self.channels_last:
            for module in modules:
                module.to(memory_format=torch.channels_last)

    def denoiser(self, unet: Any) -> Callable[..., Any]:
        """The denoiser to call, compiled if it is to be."""
        return Compiled(unet, self.compile) if self.compile else unet

    def decode(self, vae: Any, latents: Tensor) -> Tensor:
        """Latents (B, …) → what the decoder makes of them (B, 3, H, W)."""
        parts = latents.split(self.decode_batch or len(latents))
        return torch.cat([vae.decode(part, return_dict=False)[0] for part in parts])

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Use TF32 or not, while it lasts; torch's own default uses it in convolutions."""
        matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matrices.allow_tf32, convolutions.allow_tf32
        matrices.allow_tf32 = convolutions.allow_tf32 = self.tf32
        try:
            yield
        finally:
            matrices.allow_tf32, convolutions.allow_tf32 = before


class Compiled:
    """A denoiser, compiled on its first call, and again in every process that unpickles it."""

    def __init__(self, unet: Any, how: str) -> None:
        self._unet, self._how = unet, how
        self._call: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Compiled, (self._unet, self._how)

    def __call__(self, *inputs: Any, **named: Any) -> tuple[Tensor]:
        if self._call is None:
            dynamo = torch._dynamo.config
            dynamo.recompile_limit = max(dynamo.recompile_limit, _SHAPES)
            self._call = torch.compile(self._unet, dynamic=False, **COMPILERS[self._how])
        if self._how not in _RECORDING:
            return self._call(*inputs, **named)
        # A CUDA graph writes into the same memory again and again; solvers keep what came before.
        torch.compiler.cudagraph_mark_step_begin()
        return (self._call(*inputs, **named)[0].clone(),)


def padded_size(images: int, largest: int) -> int:
    """The smallest of ``largest`` and its halvings that holds so many images.

    >>> [padded_size(images, 48) for images in (1, 2, 7, 24, 25, 48)]
    [1, 2, 12, 24, 48, 48]
    """
    size = largest
    while size > 1 and (half := -(-size // 2)) >= images:
        size = half
    return size


def fitting_batch(device: torch.device, peak: Callable[[int], int]) -> int:
    """How many images fit into four fifths of a GPU's free memory; a fixed number elsewhere.

    ``peak`` makes so many images, and returns the most bytes that they took.
    """
    if device.type != "cuda":
        return _ON_CPU
    # The first call allocates what stays.
    peak(1)
    one = peak(1)
    try:
        each = max(1, (peak(_FEW) - one) // (_FEW - 1))
    except torch.OutOfMemoryError:
        return 1
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_LARGEST, 1 + int(_SHARE * free - one) // each))
