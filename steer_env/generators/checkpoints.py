"""Checkpoints in diffusers' formats: reading, sampling and identifying them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steer_env.compatibility import mend_torchvision, quiet
from steer_env.fingerprints import fingerprint
from steer_env.registry import Registry

SOLVERS = Registry(
    "solver",
    {
        "ddim": "DDIMScheduler",
        "dpm++": "DPMSolverMultistepScheduler",
        "unipc": "UniPCMultistepScheduler",
        "euler": "EulerDiscreteScheduler",
    },
)
"""Deterministic schedulers of diffusers."""


def load_pipeline(kind: str, path: str, dtype: torch.dtype, variant: str = "", **options: Any) -> Any:
    """The checkpoint as a diffusers pipeline.

    Args:
        kind: name of the pipeline's class.
        path: a local folder or a hub id.
        dtype: of its weights.
        variant: of its files, such as fp16 for ``*.fp16.safetensors``; empty for those without one.
        **options: of the class.

    Raises:
        FileNotFoundError, OSError, ValueError: as for :class:`steer_env.generators.diffusion.DiffusionGenerator`.
    """
    local = Path(path).expanduser()
    looks_local = local.is_absolute() or path.startswith((".", "~"))
    if looks_local and not (local / "model_index.json").is_file():
        raise FileNotFoundError(f"{local} is no Stable Diffusion checkpoint: it holds no model_index.json")
    mend_torchvision()
    with quiet():
        # Imported here because the import itself remarks on optional packages.
        import diffusers

        source = str(local) if local.is_dir() else path
        try:
            declared = diffusers.DiffusionPipeline.load_config(source)["_class_name"]
            if ("XL" in declared) != ("XL" in kind):
                # The other family's pipeline would read it, and fail over the first image.
                name = "stable-diffusion-xl" if "XL" in declared else "stable-diffusion"
                raise _OtherFamilyError(
                    f"{path} is a checkpoint for diffusers' {declared}: read it with generator={name}"
                )
            options |= {"variant": variant or None, "use_safetensors": True}
            pipeline = getattr(diffusers, kind).from_pretrained(source, dtype=dtype, **options)
        except _OtherFamilyError:
            raise
        except Exception as error:
            raise OSError(f"{path} can't be loaded: {_advice(local, variant)} ({str(error).strip()[:300]})") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class _OtherFamilyError(ValueError):
    pass


def load_solver(name: str, pipeline: Any) -> Any:
    """A solver with the settings of the checkpoint's own."""
    import diffusers

    return getattr(diffusers, SOLVERS[name]).from_config(pipeline.scheduler.config)


def solve(scheduler: Any, steps: int, sample: Tensor, denoise: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Standard normal latents (B, C, H, W) → denoised ones, by a scheduler of diffusers.

    ``denoise`` maps inputs (B, C, H, W) and a time to the model's prediction.
    """
    scheduler.set_timesteps(steps, device=sample.device)
    sample = sample * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        output = denoise(scheduler.scale_model_input(sample, time), time)
        sample = scheduler.step(output, time, sample, return_dict=False)[0]
    return sample


def check_solver(path: str, pipeline: Any, steps: int) -> None:
    """Raises a ValueError if the scheduler draws noise, so that latents don't decide the image."""
    channels = pipeline.unet.config.in_channels, pipeline.unet.config.out_channels
    if not _draws_noise(pipeline.scheduler, steps, *channels):
        return
    with quiet():
        good = [name for name in SOLVERS if not _draws_noise(load_solver(name, pipeline), steps, *channels)]
    raise ValueError(
        f"{path} is sampled by {type(pipeline.scheduler).__name__}, which draws fresh noise at its steps, so that the "
        f"same latents give other images each time: set solver to one of: {', '.join(good)}"
    )


def _draws_noise(scheduler: Any, steps: int, channels: int, predicted: int) -> bool:
    """Tried on one pixel, without a model."""
    samples = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(2):
            torch.manual_seed(seed)
            sample, output = torch.ones(1, channels, 1, 1), torch.zeros(1, predicted, 1, 1)
            samples.append(solve(scheduler, steps, sample, lambda *_, output=output: output))
    return not torch.equal(*(values.nan_to_num() for values in samples))


def latent_size(path: str, unet: Any) -> tuple[int, int]:
    """Height and width of a denoiser's latents; a ValueError where its configuration doesn't give them."""
    size = unet.config.sample_size
    sides = size if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise ValueError(
            f"{path}: sample_size in unet/config.json must be a number of latent pixels, or height and width, "
            f"got {size}"
        )
    return sides[0], sides[1]


def pipeline_fingerprint(pipeline: Any) -> str:
    """SHA-256 of a pipeline and all its parts but the scheduler: weights, configurations and vocabularies."""
    weights: dict[str, Tensor] = {}
    settings: dict[str, Any] = {"pipeline": plain_config(pipeline.config)}
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            weights |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
            settings[name] = plain_config(part.config)
        elif hasattr(part, "backend_tokenizer"):
            # Padding and truncation are set with each call.
            vocabulary = json.loads(part.backend_tokenizer.to_str())
            settings[name] = [part.model_max_length, {**vocabulary, "truncation": None, "padding": None}]
    return hashlib.sha256(json.dumps([fingerprint(weights), settings], sort_keys=True).encode()).hexdigest()


def plain_config(config: Any) -> dict[str, str]:
    """A part's configuration, without where it was read from."""
    values = config.to_dict() if hasattr(config, "to_dict") else config
    return {name: repr(value) for name, value in values.items() if not name.startswith("_")}


def _advice(local: Path, variant: str) -> str:
    if not variant and (names := _variants(local)):
        return f"its weights are of a variant; set variant={' or '.join(names)}"
    if local.is_dir():
        return (
            "a part of the checkpoint is missing, damaged, of another architecture, or has no safetensors, and weights "
            "that are pickled aren't read; copy or convert it again"
        )
    return (
        "it isn't a folder here, and the hub doesn't have it or can't be reached; fetch it where there is a network, "
        "`hf download ID --local-dir FOLDER`, and give the folder as its path"
    )


def _variants(local: Path) -> list[str]:
    """Variants of weights that have no plain file: fp16 for ``unet/diffusion_pytorch_model.fp16.safetensors``."""
    named = [(path, re.fullmatch(r"(\w+)\.(\w+)(-.*)?(\.safetensors)", path.name)) for path in local.glob("*/*")]
    return sorted({name[2] for path, name in named if name and not (path.parent / f"{name[1]}{name[4]}").exists()})
