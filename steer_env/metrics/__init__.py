"""Perceptual metrics by name. A loaded metric is shared by everything in the process that asks for the same one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from steer_env.compatibility import usual_defaults
from steer_env.registry import Registry
from steer_env.types import Metric


def _tile_perceptual(**options: Any) -> Metric:
    from steer_env import assets
    from steer_env.metrics.tile_perceptual import TilePerceptualMetric

    folder = assets.verified(assets.ROOT / "tiles-metric")
    return TilePerceptualMetric.load(folder, id=f"tile-perceptual-{assets.version(folder)}", **options)


def _pixel_correlation(**options: Any) -> Metric:
    from steer_env.metrics.pixels import PixelCorrelation

    return PixelCorrelation(**options)


def _clip(**options: Any) -> Metric:
    from steer_env.metrics.clip import CLIPMetric

    return CLIPMetric(**options)


def _clip_alignment(**options: Any) -> Metric:
    from steer_env.metrics.clip_alignment import CLIPAlignment

    return CLIPAlignment(**options)


def _dreamsim(**options: Any) -> Metric:
    from steer_env.metrics.dreamsim import DreamSimMetric

    return DreamSimMetric(**options)


def _lpips(**options: Any) -> Metric:
    from steer_env.metrics.lpips import LPIPSMetric

    return LPIPSMetric(**options)


METRICS = Registry(
    "metric",
    {
        "tile-perceptual": _tile_perceptual,
        "pixel-correlation": _pixel_correlation,
        "clip": _clip,
        "clip-alignment": _clip_alignment,
        "dreamsim": _dreamsim,
        "lpips": _lpips,
    },
)


@lru_cache
def load_metric(name: str = "tile-perceptual", **options: Any) -> Metric:
    """The metric of that name; see the class it makes for its options.

    Raises:
        ValueError: an unknown name or option value.
        ImportError: the optional package that it needs isn't installed.
        steer_env.metrics.checkpoints.CheckpointError: weights that can't be had or can't be used.
        steer_env.assets.AssetError: damaged embedded weights.
    """
    with usual_defaults():
        return METRICS[name](**options)


def load_judges(
    judges: Sequence[str] | Mapping[str, Metric], options: Mapping[str, dict[str, Any]]
) -> Mapping[str, Metric]:
    """Further metrics, by name.

    Args:
        judges: their names, or such metrics by name.
        options: of those that have any, by name.

    Raises:
        ValueError: an unknown name, or options of none of them.
    """
    if unused := sorted(options.keys() - set(judges)):
        raise ValueError(f"judge_options of {unused[0]!r}, which is none of the judges: {', '.join(judges) or 'none'}")
    if isinstance(judges, Mapping):
        return judges
    return {name: load_metric(name, **options.get(name, {})) for name in judges}
