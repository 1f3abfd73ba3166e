"""From a configuration to who plays the episodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.run.options import CollectorsOptions, PartsOptions
from experiments.run.parts import env_options
from steer_env.evaluation.collectors import Collectors
from steer_env.generators import load_generator
from steer_env.metrics import load_metric
from steer_env.registry import AUTO

_LOADERS = {"generator": load_generator, "metric": load_metric}


def shared_options(parts: PartsOptions, who: CollectorsOptions) -> dict[str, Any]:
    """The environment's options; with collectors elsewhere, its models are loaded, on the CPU, to be handed to them."""
    options = env_options(parts)
    if who.kind != "here":
        for part, load in _LOADERS.items():
            options[part] = load({name: value for name, value in options[part].items() if name != "device"}, "cpu")
        if options["goal_bank"]:
            # Processes elsewhere work in folders of their own.
            options["goal_bank"] = str(Path(options["goal_bank"]).expanduser().absolute())
    return options


@contextmanager
def collecting(parts: PartsOptions, who: CollectorsOptions, options: dict[str, Any]) -> Iterator[Collectors | None]:
    """While it lasts, those who play in environments of :func:`shared_options`; None for this process."""
    if who.kind == "here":
        yield None
        return
    # An optional dependency: imported where it is asked for.
    from steer_env.evaluation.on_ray import RayCollectors

    own = {name: value for name, value in asdict(who).items() if name != "kind"}
    chosen = {part: getattr(getattr(parts, part), "device", AUTO) for part in _LOADERS}
    devices = {part: device for part, device in chosen.items() if device != AUTO}
    with closing(RayCollectors(options, devices=devices, **own)) as collectors:
        yield collectors
