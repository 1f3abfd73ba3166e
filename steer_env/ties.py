"""The one rule where two values are equal but for rounding: the first within :data:`TIE` of the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

TIE = 2e-6
"""Similarities of one and the same image differ by up to 6e-7 between sizes of batches and numbers of threads."""


def first_best(values: np.ndarray) -> np.ndarray:
    """Index of the first value along the last axis that is within :data:`TIE` of the largest: (…, n) → int64 (…).

    >>> int(first_best(np.array([0.1, 0.5, 0.5 + 1e-7])))
    1
    """
    return (values >= values.max(axis=-1, keepdims=True) - TIE).argmax(axis=-1)


def first_best_of(values: Tensor) -> Tensor:
    """As :func:`first_best`, for tensors."""
    return (values >= values.amax(dim=-1, keepdim=True) - TIE).byte().argmax(dim=-1)
