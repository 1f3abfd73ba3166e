"""Options of generators."""

from __future__ import annotations

from dataclasses import dataclass

from steer_env.registry import AUTO


@dataclass(kw_only=True)
class DiffusionOptions:
    """A latent diffusion model.

    Args:
        steps: denoising steps an image.
        guidance_scale: classifier-free guidance; at 1 or below there is no second pass.
        solver: ddim, dpm++, unipc or euler; empty for the checkpoint's own.
        max_batch: most images generated at a time; bounds the memory. Halved where the device's memory doesn't suffice.
            0 for what fits into the free memory of a GPU, measured; 64 elsewhere.
        device: where it runs: cpu, cuda, cuda:1; auto for the environment's, which is a GPU if there is one.
        dtype: precision of its weights: float32, float16 or bfloat16; auto for the environment's, which is float32.
        id: what traces call it; path, steps, guidance, solver and variant by default.
        channels_last: the memory format of weights and activations, which suits convolutions on tensor cores.
        compile: a mode of torch.compile: default, reduce-overhead, max-autotune; the last two record CUDA graphs. The
            denoiser is compiled for few fixed sizes of batches, ``max_batch`` and its halvings; others are padded.
        tf32: whether products of float32 matrices and convolutions on a GPU are rounded to TF32, which is faster, and
            off by some 1e-3 where float32 is off by 1e-6.
        decode_batch: images decoded at a time, where the decoder needs more memory than the denoiser; 0 for all.
    """

    steps: int = 20
    guidance_scale: float = 7.5
    solver: str = ""
    max_batch: int = 64
    device: str = AUTO
    dtype: str = AUTO
    id: str = ""
    channels_last: bool = False
    compile: str = ""
    tf32: bool = False
    decode_batch: int = 0


@dataclass(kw_only=True)
class TilesOptions(DiffusionOptions):
    """The embedded model of geometric tilings: two unguided steps by default; its id names other settings.

    Args:
        steps: denoising steps an image.
        guidance_scale: classifier-free guidance; at 1 or below there is no second pass.

    The others are those of all latent diffusion models.
    """

    steps: int = 2
    guidance_scale: float = 1.0


@dataclass(kw_only=True)
class StableDiffusionOptions(DiffusionOptions):
    """Any checkpoint in the format of Stable Diffusion 1, 2 or XL.

    Args:
        path: a local folder as diffusers saves its pipeline, or a hub id.
        variant: of the checkpoint's files, such as fp16.

    The others are those of all latent diffusion models.
    """

    path: str
    variant: str = ""
