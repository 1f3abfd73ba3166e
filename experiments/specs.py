"""Names of folders for specs such as ``tiles:steps=1,guidance_scale=2``."""

from __future__ import annotations

<<<<<<< HEAD
import re


def slug(spec: str) -> str:
    """A folder's name.

    >>> slug("bayesian:pool=96,metric=pixel-correlation")
    'bayesian-pool-96-metric-pixel-correlation'
    """
    return re.sub(r"[^a-z0-9]+", "-", spec.lower())
=======
from typing import Any

from omegaconf import OmegaConf


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and options; values are read as YAML.

    Raises:
        ValueError: an option without a value.

    >>> parse("bayesian:pool=96,metric=pixel-correlation")
    ('bayesian', {'pool': 96, 'metric': 'pixel-correlation'})
    >>> parse("mixture")
    ('mixture', {})
    """
    name, _, rest = spec.partition(":")
    parts = rest.split(",") if rest else []
    if lone := [part for part in parts if "=" not in part]:
        raise ValueError(f"{spec}: {lone[0]!r} is no option with a value, such as steps=1")
    options: Any = OmegaConf.to_container(OmegaConf.from_dotlist(parts))
    return name, options
>>>>>>> roomsG
