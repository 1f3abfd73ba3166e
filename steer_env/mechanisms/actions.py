"""What a policy may decide in a round, by name; importing it loads no torch."""

from __future__ import annotations

from steer_env.mechanisms.options import DirectionsOptions, ProposalsOptions
from steer_env.registry import NoOptions, Part, Parts, Registry

ACTIONS: Parts = Registry(
    "kind of action",
    {
        "bucket": Part(NoOptions, ""),
        "scale": Part(NoOptions, ""),
        "directions": Part(DirectionsOptions, "steer_env.mechanisms.directions:DirectionSteering"),
        "proposals": Part(ProposalsOptions, "steer_env.mechanisms.directions:LatentSteering"),
    },
)
"""One of 10 mixture scales, a mixture scale in [0, 1], or what a mechanism of its own takes, which is then a track."""
SCALES = ("bucket", "scale")
