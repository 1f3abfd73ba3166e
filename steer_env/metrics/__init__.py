"""Perceptual metrics by name. A loaded metric is shared by everything in the process that asks for the same one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steer_env.compatibility import usual_defaults
from steer_env.devices import on_device
from steer_env.metrics.options import CLIPOptions, DINOOptions, DreamSimOptions, LPIPSOptions, PixelOptions
from steer_env.registry import AUTO, Loaded, NoOptions, Part, Parts, Registry, Spec, own_part, parse_spec, resolve
from steer_env.types import Metric

METRICS: Parts = Registry(
    "metric",
    {
        "tile-perceptual": Part(NoOptions, "steer_env.tiles.metric:load"),
        "pixel-correlation": Part(PixelOptions, "steer_env.metrics.pixels:PixelCorrelation"),
        "clip": Part(CLIPOptions, "steer_env.metrics.clip:CLIPMetric"),
        "clip-alignment": Part(CLIPOptions, "steer_env.metrics.clip:CLIPAlignment"),
        "dino": Part(DINOOptions, "steer_env.metrics.dino:DINOMetric"),
        "dreamsim": Part(DreamSimOptions, "steer_env.metrics.dreamsim:DreamSimMetric"),
        "lpips": Part(LPIPSOptions, "steer_env.metrics.lpips:LPIPSMetric"),
    },
)
LOADED: Loaded[Metric] = Loaded()


def load_metric(
    spec: Spec[Metric] = "tile-perceptual", device: str = AUTO, dtype: str = AUTO, **options: Any
) -> Metric:
    """The metric of a spec such as ``clip:path=FOLDER``; a metric itself is returned unchanged.

    Args:
        spec: see :func:`steer_env.registry.parse_spec`.
        device, dtype: where its own options say ``auto``.
        **options: more of them.

    Raises:
        ValueError: an unknown name or option, or a value that an option can't have.
        ImportError: the optional package that it needs isn't installed.
        steer_env.metrics.checkpoints.CheckpointError: weights that can't be had or can't be used.
        steer_env.assets.AssetError: damaged embedded weights.
    """
    if not isinstance(spec, str | Mapping):
        return own_part("metric", spec, "id", "dimensions", "embed", "similarity")
    part, chosen = resolve(METRICS, spec, **options)
    on_device(chosen, device, dtype)
    with usual_defaults():
        return LOADED.get(part, chosen)


def load_judges(
    judges: Sequence[str | Mapping[str, Any]] | Mapping[str, Spec[Metric]], device: str = AUTO, dtype: str = AUTO
) -> dict[str, Metric]:
    """Further metrics, by name.

    Args:
        judges: words or mappings, each with its metric's name; or name → word, mapping or metric.
        device, dtype: as for :func:`load_metric`.

    Raises:
        ValueError: as :func:`load_metric`; two judges of one name, or one without any.
    """
    if not isinstance(judges, Mapping):
        names = [parse_spec(judge)[0] for judge in judges]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two judges are called {twice[0]!r}: give them names, {{NAME: {twice[0]}, …}}")
        judges = dict(zip(names, judges, strict=True))
    if unnamed := [name for name in judges if not isinstance(name, str) or not name]:
        raise ValueError(f"a judge's name must be a word, got {unnamed[0]!r}")
    return {name: load_metric(judge, device, dtype) for name, judge in judges.items()}
