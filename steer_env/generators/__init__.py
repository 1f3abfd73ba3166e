"""Generators by name. A loaded generator is shared by everything in the process that asks for the same one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from steer_env.compatibility import usual_defaults
from steer_env.registry import Registry
from steer_env.types import Generator

_TILES = {"steps": 2, "guidance_scale": 1.0, "solver": ""}


def _tiles(**options: Any) -> Generator:
    """The embedded model: two unguided steps, unless told otherwise, which its id then says."""
    from steer_env import assets
    from steer_env.generators.stable_diffusion import StableDiffusionGenerator

    folder = assets.verified(assets.ROOT / "tiles-generator")
    other = [f"{name}={options[name]}" for name in _TILES if options.get(name, _TILES[name]) != _TILES[name]]
    identity = {"id": " ".join([f"tiles-{assets.version(folder)}", *other])}
    return StableDiffusionGenerator(str(folder), **{**_TILES, **identity, **options})


def _stable_diffusion(**options: Any) -> Generator:
    """Any checkpoint in Stable Diffusion format; ``path`` is a folder or a hub id."""
    from steer_env.generators.stable_diffusion import StableDiffusionGenerator

    return StableDiffusionGenerator(**options)


def _stable_diffusion_xl(**options: Any) -> Generator:
    """Any checkpoint in the format of Stable Diffusion XL's base model; ``path`` is a folder or a hub id."""
    from steer_env.generators.stable_diffusion_xl import StableDiffusionXLGenerator

    return StableDiffusionXLGenerator(**options)


GENERATORS = Registry(
    "generator",
    {"tiles": _tiles, "stable-diffusion": _stable_diffusion, "stable-diffusion-xl": _stable_diffusion_xl},
)


@lru_cache
def load_generator(name: str = "tiles", **options: Any) -> Generator:
    """The generator of that name; see the class it makes for its options.

    Raises:
        ValueError: an unknown name or option value.
        FileNotFoundError: a checkpoint that isn't there.
        steer_env.assets.AssetError: damaged embedded weights.
    """
    with usual_defaults():
        return GENERATORS[name](**options)
