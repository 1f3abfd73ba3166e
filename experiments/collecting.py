"""From a configuration to who plays the episodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from experiments.runs import env_options
from steer_env.evaluation.collectors import Collectors
from steer_env.generators import load_generator
from steer_env.metrics import load_metric

_LOADERS = {"generator": load_generator, "metric": load_metric}


def shared_options(config: Any) -> dict[str, Any]:
    """The environment's options; with collectors elsewhere, its models are loaded, on the CPU, to be handed to them."""
    options = env_options(config)
    if config.collectors.kind != "here":
        for part, load in _LOADERS.items():
            options[part] = load({name: value for name, value in options[part].items() if name != "device"}, "cpu")
        if options["goal_bank"]:
            # Processes elsewhere work in folders of their own.
            options["goal_bank"] = str(Path(options["goal_bank"]).expanduser().absolute())
    return options


@contextmanager
def collecting(config: Any, options: dict[str, Any]) -> Iterator[Collectors | None]:
    """While it lasts, those who play in environments of :func:`shared_options`; None for this process."""
    if config.collectors.kind == "here":
        yield None
        return
    # An optional dependency: imported where it is asked for.
    from steer_env.evaluation.on_ray import RayCollectors

    own = {name: value for name, value in config.collectors.items() if name != "kind"}
    told = {part: config.env[f"{part}_options"].get("device") for part in _LOADERS}
    devices = {part: device for part, device in told.items() if device}
    with closing(RayCollectors(options, devices=devices, **own)) as collectors:
        yield collectors
