"""Time on a device that works while Python goes on."""

from __future__ import annotations

import time
from functools import partial
from typing import Any


def now(device: Any) -> float:
    """Seconds on a clock, read once the device has finished its work."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Timed:
    """A generator or metric that counts the seconds of some of its methods."""

    def __init__(self, part: Any, device: Any, *methods: str) -> None:
        self._part, self._device, self._methods = part, device, methods
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._timed, name) if name in self._methods else getattr(self._part, name)

    def _timed(self, name: str, *inputs: Any) -> Any:
        start = now(self._device)
        result = getattr(self._part, name)(*inputs)
        self.seconds += now(self._device) - start
        return result
