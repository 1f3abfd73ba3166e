"""Names of folders for specs such as ``tiles:steps=1,guidance_scale=2``."""

from __future__ import annotations

import re


def slug(spec: str) -> str:
    """A folder's name.

    >>> slug("bayesian:pool=96,metric=pixel-correlation")
    'bayesian-pool-96-metric-pixel-correlation'
    """
    return re.sub(r"[^a-z0-9]+", "-", spec.lower())
