"""Time on a device that works while Python goes on."""

from __future__ import annotations

import time
from typing import Any


def now(device: Any) -> float:
    """Seconds on a clock, read once the device has finished its work."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
