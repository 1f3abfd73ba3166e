"""Generators by name. A loaded generator is shared by everything in the process that asks for the same one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steer_env.compatibility import usual_defaults
from steer_env.devices import on_device
from steer_env.generators.options import ImageEndpointOptions, PipelineOptions, StableDiffusionOptions, TilesOptions
from steer_env.registry import AUTO, Loaded, Part, Parts, Registry, Spec, own_part, resolve
from steer_env.types import Generator

_FILE = "steer_env.generators.stable_diffusion"

GENERATORS: Parts = Registry(
    "generator",
    {
        "tiles": Part(TilesOptions, "steer_env.tiles.generator:load"),
        "stable-diffusion": Part(StableDiffusionOptions, f"{_FILE}:StableDiffusionGenerator"),
        "stable-diffusion-xl": Part(StableDiffusionOptions, f"{_FILE}:StableDiffusionXLGenerator"),
        "diffusers": Part(PipelineOptions, "steer_env.generators.pipelines:PipelineGenerator"),
        "endpoint": Part(ImageEndpointOptions, "steer_env.generators.endpoint:EndpointGenerator"),
    },
)
LOADED: Loaded[Generator] = Loaded()


def load_generator(spec: Spec[Generator] = "tiles", device: str = AUTO, dtype: str = AUTO, **options: Any) -> Generator:
    """The generator of a spec such as ``tiles:steps=1``; a generator itself is returned unchanged.

    Args:
        spec: see :func:`steer_env.registry.parse_spec`.
        device, dtype: where its own options say ``auto``.
        **options: more of them.

    Raises:
        ValueError: an unknown name or option, or a value that an option can't have.
        FileNotFoundError: a checkpoint that isn't there.
        steer_env.assets.AssetError: damaged embedded weights.
    """
    if not isinstance(spec, str | Mapping):
        return own_part("generator", spec, "id", "device", "latent_shape", "image_shape", "encode", "generate")
    part, chosen = resolve(GENERATORS, spec, **options)
    on_device(chosen, device, dtype)
    with usual_defaults():
        return LOADED.get(part, chosen)
