"""The embedded model."""

from __future__ import annotations

from typing import Any

from steer_env import assets
from steer_env.generators.options import TilesOptions
from steer_env.generators.stable_diffusion import StableDiffusionGenerator


def load(id: str = "", **options: Any) -> StableDiffusionGenerator:
    """The embedded model with :class:`steer_env.generators.options.TilesOptions`; its id names changed settings.

    Raises:
        steer_env.assets.AssetError: damaged weights.
    """
    folder, usual = assets.verified(assets.ROOT / "tiles-generator"), vars(TilesOptions())
    options = {**usual, **options}
    settings = ("steps", "guidance_scale", "solver")
    other = [f"{name}={_plain(options[name])}" for name in settings if options[name] != usual[name]]
    options["id"] = id or " ".join([f"tiles-{assets.version(folder)}", *other])
    return StableDiffusionGenerator(str(folder), **options)


def _plain(value: float | str) -> str:
    """2 and 2.0 are one setting, and one id."""
    return value if isinstance(value, str) else f"{value:g}"
