"""Where models run, and with what precision, from the names that options have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steer_env.registry import AUTO, Registry

if TYPE_CHECKING:
    import torch

DTYPES = Registry("dtype", {name: name for name in ("float32", "float16", "bfloat16")})
"""Names of torch's precisions that models compute in."""


def resolve_device(name: str) -> str:
    """The name of a device that is here; ``auto`` is the GPU where there is one, and the CPU elsewhere.

    Raises:
        ValueError: a name that torch doesn't know, or a device that isn't here.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == AUTO:
        return "cuda" if gpus else "cpu"
    here = ", ".join(["cpu", *(f"cuda:{i}" for i in range(gpus))])
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"unknown device {name!r}; here are: {here}, or auto") from None
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ValueError(f"device {name!r} isn't here; here are: {here}, or auto")
    return name


def resolve_dtype(name: str, device: str = "cpu") -> torch.dtype:
    """The precision of that name; ``auto`` is half precision on a GPU, bfloat16 where it has it, and float32 elsewhere.

    Raises:
        ValueError: an unknown name.
    """
    import torch

    if name == AUTO and torch.device(device).type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        name = "bfloat16" if major >= 8 else "float16"
    dtype: torch.dtype = getattr(torch, "float32" if name == AUTO else DTYPES[name])
    return dtype


def on_device(options: Any, device: str, dtype: str) -> None:
    """Fill in a part's options where they say ``auto``, if it has them: by others, and these by what is here."""
    if hasattr(options, "device"):
        options.device = resolve_device(device if options.device == AUTO else options.device)
    if hasattr(options, "dtype") and options.dtype == AUTO:
        options.dtype = dtype
