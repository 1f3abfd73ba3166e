"""Options of generators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from steer_env.limits import Limited, option
from steer_env.registry import AUTO
from steer_env.servers import ServerOptions


@dataclass(kw_only=True)
class LatentOptions(Limited):
    """What all models of latents have.

    Args:
        solver: ddim, dpm++, unipc or euler, where the checkpoint can use it; empty for its own.
        max_batch: most images generated at a time; bounds the memory. Halved where the device's memory doesn't suffice.
            0 for what fits into the free memory of a GPU, measured; 64 elsewhere.
        device: where it runs: cpu, cuda, cuda:1; auto for the environment's, which is a GPU if there is one.
        dtype: precision of its weights: float32, float16 or bfloat16; auto for the environment's, which is half
            precision on a GPU.
        id: what traces call it; path, steps, guidance, solver and what changes the checkpoint by default.
    """

    solver: str = ""
    max_batch: int = option(64, least=0, most=65536)
    device: str = AUTO
    dtype: str = AUTO
    id: str = ""


@dataclass(kw_only=True)
class DiffusionOptions(LatentOptions):
    """A latent diffusion model.

    Args:
        steps: denoising steps an image.
        guidance_scale: classifier-free guidance; at 1 or below there is no second pass.
        channels_last: the memory format of weights and activations, which suits convolutions on tensor cores.
        compile: a mode of torch.compile: default, reduce-overhead, max-autotune; the last two record CUDA graphs. The
            denoiser is compiled for few fixed sizes of batches, ``max_batch`` and its halvings; others are padded.
        tf32: whether products of float32 matrices and convolutions on a GPU are rounded to TF32, which is faster, and
            off by some 1e-3 where float32 is off by 1e-6.
        decode_batch: images decoded at a time, where the decoder needs more memory than the denoiser; 0 for all.
    """

    steps: int = option(20, least=1, most=1000)
    guidance_scale: float = option(7.5, least=0, most=1000)
    channels_last: bool = False
    compile: str = ""
    tf32: bool = False
    decode_batch: int = option(0, least=0, most=65536)


@dataclass(kw_only=True)
class TilesOptions(DiffusionOptions):
    """The embedded model of geometric tilings: two unguided steps by default; its id names other settings.

    The options are those of all latent diffusion models.
    """

    steps: int = option(2, least=1, most=1000)
    guidance_scale: float = option(1.0, least=0, most=1000)


@dataclass(kw_only=True)
class ImageEndpointOptions(ServerOptions):
    """An image model behind a server that speaks OpenAI's images API, for users who write prompts.

    Args:
        model: as the server calls it.
        size: of images, WIDTHxHEIGHT in pixels.
        arguments: further fields of each request, such as quality; on a command line
            '+generator.arguments={response_format: b64_json}', for servers that would answer an address.
        cache: folder of the images, so that a run can be repeated, and goes on where it was interrupted.
        id: what traces call it; model and size by default.

    The others are those of all servers.
    """

    model: str
    size: str = "1024x1024"
    arguments: dict[str, Any] = field(default_factory=dict)
    timeout: float = option(180.0, least=0.01, most=86400)
    cache: str = "outputs/images"
    id: str = ""


@dataclass(kw_only=True)
class CheckpointOptions(Limited):
    """A checkpoint, and what changes it.

    Args:
        path: a local folder as diffusers saves its pipeline, a hub id, or a single file, ``….safetensors``.
        variant: of the checkpoint's files, such as fp16.
        config: of a single file: a folder or hub id with configuration and tokenizers of the same model in diffusers'
            format, whose weights aren't read; by default what diffusers takes from the hub.
        lora: a file or folder of LoRA weights that are added to the checkpoint's; empty for none.
        lora_weight: how much of them.
        decoder: a folder with a small decoder in the format of TAESD, in the place of the checkpoint's; empty for its
            own.
        height, width: of images, in pixels; 0 for the checkpoint's own.
    """

    path: str
    variant: str = ""
    config: str = ""
    lora: str = ""
    lora_weight: float = option(1.0, least=-100, most=100)
    decoder: str = ""
    height: int = option(0, least=0, most=16384)
    width: int = option(0, least=0, most=16384)

    def changes(self) -> list[str]:
        """What an id says of a checkpoint beside its path."""
        size = f"{self.height or 'own'}x{self.width or 'own'}" if self.height or self.width else ""
        lora = f"lora={self.lora}*{self.lora_weight:g}" if self.lora else ""
        return list(filter(None, [self.variant, lora, self.decoder and f"decoder={self.decoder}", size]))


@dataclass(kw_only=True)
class StableDiffusionOptions(CheckpointOptions, DiffusionOptions):
    """Any checkpoint in the format of Stable Diffusion 1, 2 or XL.

    The options are those of all latent diffusion models, and of all checkpoints.
    """


@dataclass(kw_only=True)
class PipelineOptions(CheckpointOptions, LatentOptions):
    """Any text-to-image pipeline of diffusers that takes latents, such as Stable Diffusion 3, Flux, SANA or PixArt.

    The pipeline itself is called. For Stable Diffusion 1, 2 and XL, ``stable-diffusion`` and ``stable-diffusion-xl``
    make the same images faster.

    Args:
        steps: denoising steps an image; 0 for the pipeline's usual number, which few-step models need fewer of.
        guidance_scale: none for the pipeline's usual one.
        arguments: further arguments of the pipeline's call, on a command line
            '+generator.arguments={max_sequence_length: 77}'.

    The others are those of all models of latents, and of all checkpoints.
    """

    steps: int = option(0, least=0, most=1000)
    guidance_scale: float | None = option(None, least=0, most=1000)
    arguments: dict[str, Any] = field(default_factory=dict)
    max_batch: int = option(16, least=0, most=65536)
