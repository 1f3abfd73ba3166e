"""Checkpoints in diffusers' formats: reading, sampling and identifying them."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steer_env.compatibility import let_hooks_travel, mend_torchvision, quiet, reason
from steer_env.fingerprints import fingerprint
from steer_env.generators.options import CheckpointOptions
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


ANY = "DiffusionPipeline"
"""Reads a checkpoint as whatever pipeline it names."""


def load_pipeline(kind: str, chosen: CheckpointOptions, dtype: torch.dtype, **options: Any) -> Any:
    """The checkpoint as a diffusers pipeline, with its LoRA weights and its small decoder.

    Args:
        kind: name of the pipeline's class, or :data:`ANY`.
        chosen: which checkpoint.
        dtype: of its weights.
        **options: of the class.

    Raises:
        FileNotFoundError, OSError, ValueError: as for :class:`steer_env.generators.diffusion.DiffusionGenerator`.
    """
    local = _local(chosen.path)
    mend_torchvision()
    let_hooks_travel()
    with quiet():
        # Imported here because the import itself remarks on optional packages.
        import diffusers

        try:
            declared = _declared(chosen, local)
            _check_family(chosen.path, kind, declared)
            options |= {"dtype": dtype} | ({} if kind != ANY else _UNWATCHED if "safety_checker" in declared else {})
            if chosen.decoder:
                options["vae"] = _decoder(chosen.decoder, dtype)
            name = declared.get("_class_name", kind) if kind == ANY else kind
            if local.is_file():
                read = getattr(diffusers, name).from_single_file
                pipeline = read(str(local), config=chosen.config or None, **options)
            else:
                # Code that a checkpoint brings is never run.
                options |= {"variant": chosen.variant or None, "use_safetensors": True, "trust_remote_code": False}
                options |= _encoders(chosen, declared, dtype)
                pipeline = getattr(diffusers, kind).from_pretrained(_source(chosen.path), **options)
            if chosen.lora:
                _add_lora(pipeline, chosen.lora, chosen.lora_weight)
        except _RefusedError:
            raise
        except Exception as error:
            advice = _advice(local, chosen)
            raise OSError(f"{chosen.path} can't be loaded: {advice} ({reason(error)})") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


_UNWATCHED = {"safety_checker": None, "requires_safety_checker": False}


class _RefusedError(ValueError):
    """What was found is another thing than what was wanted, and the message says which."""


def _local(path: str) -> Path:
    """A checkpoint's place, if it is a local one that can be read, or may be a hub's."""
    local = Path(path).expanduser()
    if local.is_file():
        if local.suffix != ".safetensors":
            raise ValueError(f"{path} is no safetensors file; others may hold code, and aren't read: convert it")
    elif local.suffix == ".safetensors":
        raise FileNotFoundError(f"there is no file {local}")
    elif (local.is_absolute() or path.startswith((".", "~"))) and not (local / "model_index.json").is_file():
        raise FileNotFoundError(f"{local} is no Stable Diffusion checkpoint: it holds no model_index.json")
    return local


def _source(path: str) -> str:
    """A local folder, or a hub id."""
    local = Path(path).expanduser()
    return str(local) if local.is_dir() else path


def _declared(chosen: CheckpointOptions, local: Path) -> Mapping[str, Any]:
    """What ``model_index.json`` says; for a single file that of its configuration, if it is given."""
    import diffusers

    if not local.is_file():
        return dict(diffusers.DiffusionPipeline.load_config(_source(chosen.path)))
    return dict(diffusers.DiffusionPipeline.load_config(_source(chosen.config))) if chosen.config else {}


def _check_family(path: str, kind: str, declared: Mapping[str, Any]) -> None:
    """The other family's pipeline would read a checkpoint, and fail over the first image."""
    name = declared.get("_class_name")
    if kind == ANY:
        if not declared:
            raise _RefusedError(
                f"{path} is a single file: set config=FOLDER, whose model_index.json names its pipeline"
            )
        if not isinstance(name, str):
            raise _RefusedError(f"{path} needs code of its own, {name!r}, which isn't run")
    elif name and ("XL" in name) != ("XL" in kind):
        other = "stable-diffusion-xl" if "XL" in name else "stable-diffusion"
        raise _RefusedError(f"{path} is a checkpoint for diffusers' {name}: read it with generator={other}")


def _encoders(chosen: CheckpointOptions, declared: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The parts that transformers reads, which would put random weights in the place of missing ones."""
    import transformers

    parts, source = {}, _source(chosen.path)
    for name, entry in declared.items():
        library, kind = entry if isinstance(entry, list) and len(entry) == 2 else ("", "")
        kind = getattr(transformers, str(kind), None) if library == "transformers" else None
        if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
            continue
        varied = not Path(source).is_dir() or any((Path(source) / name).glob(f"*.{chosen.variant}[.-]*"))
        options = {"subfolder": name, "dtype": dtype, "variant": (varied and chosen.variant) or None}
        options |= {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
        model: Any = kind
        parts[name], report = model.from_pretrained(source, **options)
        if missing := sorted(report["missing_keys"]):
            more = f"{missing[0]} and {len(missing) - 1} other weights"
            raise _RefusedError(f"{chosen.path} lacks {more} of its {name}: random ones would take their place")
    return parts


def _decoder(path: str, dtype: torch.dtype) -> Any:
    """A small decoder from a folder or hub of its own."""
    import diffusers

    try:
        return diffusers.AutoencoderTiny.from_pretrained(_source(path), use_safetensors=True, torch_dtype=dtype)
    except Exception as error:
        raise _RefusedError(f"decoder {path} can't be loaded as TAESD's kind of decoder: {reason(error)}") from error


def _add_lora(pipeline: Any, path: str, weight: float) -> None:
    """Add low-rank weights to the pipeline's own, as if it had been trained with them."""
    if find_spec("peft") is None:
        raise _RefusedError("lora= needs a package that isn't here: pip install 'steer-env[lora]'")
    local = Path(path).expanduser()
    named = {"weight_name": local.name} if local.is_file() else {}
    try:
        pipeline.load_lora_weights(str(local.parent) if named else _source(path), use_safetensors=True, **named)
    except Exception as error:
        raise _RefusedError(f"lora {path} can't be added to {type(pipeline).__name__}: {reason(error)}") from error
    if not any(pipeline.get_list_adapters().values()):
        raise _RefusedError(f"lora {path} holds no weights for {type(pipeline).__name__}")
    pipeline.fuse_lora(lora_scale=weight)
    pipeline.unload_lora_weights()


def load_solver(name: str, pipeline: Any) -> Any:
    """A solver with the settings of the checkpoint's own.

    Raises:
        ValueError: an unknown name, or one that the pipeline can't use, or not with the settings of its own.
    """
    import diffusers

    kind, own = getattr(diffusers, SOLVERS[name]), pipeline.scheduler
    if not _takes_solvers(own):
        raise ValueError(f"solver {name} can't take the place of {type(own).__name__}, which {_others(own)}")
    try:
        return kind.from_config(own.config)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"solver {name} can't take the settings of {type(own).__name__}: {reason(error)}") from error


def _takes_solvers(scheduler: Any) -> bool:
    """Whether a scheduler denoises along a schedule of noise, as all solvers do; flow matching knows none."""
    return "beta_schedule" in scheduler.config


def _others(scheduler: Any) -> str:
    """Which solvers can take a scheduler's place, in words."""
    fitting = ", ".join(SOLVERS)
    return f"solver can replace by one of: {fitting}" if _takes_solvers(scheduler) else "no solver can replace"


def of_scheduler(scheduler: Any) -> str:
    """What to do about a scheduler that draws noise."""
    name = type(scheduler).__name__
    return f"its {name}, it seems, draws fresh noise at its steps, which {_others(scheduler)}"


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


def evaluations(scheduler: Any, steps: int) -> int:
    """How often a scheduler asks the denoiser in so many steps: methods of a higher order do so more than once each."""
    other = copy.deepcopy(scheduler)
    try:
        other.set_timesteps(steps)
    except (ValueError, TypeError):
        # Schedules that depend on the image's size have one evaluation a step.
        return steps
    return len(other.timesteps)


def check_solver(path: str, pipeline: Any, steps: int) -> None:
    """Raises a ValueError if the scheduler draws noise, so that latents don't decide the image."""
    channels = pipeline.unet.config.in_channels, pipeline.unet.config.out_channels
    if not _draws_noise(pipeline.scheduler, steps, *channels):
        return
    with quiet():
        good = [name for name in SOLVERS if _fits(name, pipeline, steps, *channels)]
    raise ValueError(
        f"{path} is sampled by {type(pipeline.scheduler).__name__}, which draws fresh noise at its steps, so that the "
        f"same latents give other images each time: set solver to one of: {', '.join(good)}"
    )


def _fits(name: str, pipeline: Any, steps: int, channels: int, predicted: int) -> bool:
    """Whether a solver can take the settings of the checkpoint's own, and draws no noise by them."""
    try:
        return not _draws_noise(load_solver(name, pipeline), steps, channels, predicted)
    except ValueError:
        return False


def _draws_noise(scheduler: Any, steps: int, channels: int, predicted: int) -> bool:
    """Tried on one pixel, without a model."""
    samples = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(2):
            torch.manual_seed(seed)
            sample, output = torch.ones(1, channels, 1, 1), torch.zeros(1, predicted, 1, 1)
            samples.append(solve(scheduler, steps, sample, lambda *_, output=output: output))
    return not torch.equal(*(values.nan_to_num() for values in samples))


def latent_size(chosen: CheckpointOptions, pipeline: Any) -> tuple[int, int]:
    """Height and width of a denoiser's latents; a ValueError where they can't be had, or aren't given."""
    sample, scale = pipeline.unet.config.sample_size, pipeline.vae_scale_factor
    size = chosen.height, chosen.width
    unit = math.lcm(scale, _UNIT)
    if any(side % unit for side in size):
        raise ValueError(f"height and width must be multiples of {unit} pixels, got {size[0]} and {size[1]}")
    if all(size):
        return size[0] // scale, size[1] // scale
    sides = sample if isinstance(sample, list | tuple) else [sample, sample]
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise ValueError(
            f"{chosen.path}: sample_size in unet/config.json must be a number of latent pixels, or height and width, "
            f"got {sample}; or set both height and width"
        )
    return size[0] // scale or sides[0], size[1] // scale or sides[1]


_UNIT = 8
"""Pipelines of diffusers make pictures whose sides are multiples of it."""


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


def solver_settings(scheduler: Any) -> list[tuple[str, str]]:
    """All that a scheduler does, for a fingerprint."""
    return sorted({"solver": type(scheduler).__name__, **plain_config(scheduler.config)}.items())


def plain_config(config: Any) -> dict[str, str]:
    """A part's configuration, without where it was read from."""
    values = config.to_dict() if hasattr(config, "to_dict") else config
    return {name: repr(value) for name, value in values.items() if not name.startswith("_")}


def _advice(local: Path, chosen: CheckpointOptions) -> str:
    if local.is_file():
        if not chosen.config:
            return (
                "a single file holds no configuration, and diffusers asks its hub for one; set config=FOLDER, a "
                "checkpoint of the same model in diffusers' format, whose weights aren't needed"
            )
        return f"it is damaged, or isn't a model of the architecture that {chosen.config} describes"
    if not chosen.variant and (names := _variants(local)):
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
