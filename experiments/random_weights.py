"""Stable Diffusion's architecture with random weights, at its own sizes or small ones, and what an image costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from steer_env import assets
from steer_env.compatibility import mend_torchvision, quiet
from steer_env.registry import Registry

mend_torchvision()

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel  # noqa: E402
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel  # noqa: E402

_TOKENS, _SCALE = 77, 8


@dataclass(frozen=True)
class Size:
    """Widths and depths; ``sample`` is the latent's side, an eighth of the image's."""

    unet: tuple[int, ...]
    vae: tuple[int, ...]
    text: int
    text_layers: int
    heads: int
    sample: int
    layers: int = 2


SIZES = Registry(
    "size",
    {
        "sd14": Size((320, 640, 1280, 1280), (128, 256, 512, 512), 768, 12, 8, 64),
        "small": Size((32, 64, 64, 64), (32, 32, 32, 32), 64, 2, 4, 8, 1),
    },
)


def save_random(size: str, dtype: torch.dtype, folder: Path) -> None:
    """Write a checkpoint of that size with random weights, in Stable Diffusion format."""
    chosen = SIZES[size]
    torch.manual_seed(0)
    text = CLIPTextConfig(
        hidden_size=chosen.text,
        intermediate_size=4 * chosen.text,
        num_hidden_layers=chosen.text_layers,
        num_attention_heads=chosen.text // 64,
        max_position_embeddings=_TOKENS,
        projection_dim=chosen.text,
    )
    tokenizer = AutoTokenizer.from_pretrained(assets.ROOT / "tiles-generator" / "tokenizer")
    tokenizer.model_max_length = _TOKENS
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    with quiet():
        _assemble(chosen, dtype, CLIPTextModel(text), tokenizer, scheduler).save_pretrained(folder)


def _assemble(size: Size, dtype: torch.dtype, text_encoder: Any, tokenizer: Any, scheduler: Any) -> Any:
    return StableDiffusionPipeline(
        vae=_vae(size).to(dtype),
        text_encoder=text_encoder.to(dtype),
        tokenizer=tokenizer,
        unet=_unet(size).to(dtype),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def operations(size: str) -> tuple[int, int]:
    """Floating-point operations of one pass of the denoiser, and of decoding one image."""
    chosen = SIZES[size]
    with torch.device("meta"):
        unet, vae = _unet(chosen), _vae(chosen)
        latent = torch.zeros(1, 4, chosen.sample, chosen.sample)
        words = torch.zeros(1, _TOKENS, chosen.text)
        return _count(unet, latent, torch.tensor(1), words), _count(vae.decode, latent)


@torch.inference_mode()
def _count(module: Any, *inputs: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops())


def _unet(size: Size) -> UNet2DConditionModel:
    # The defaults of the other options are Stable Diffusion 1.4's.
    return UNet2DConditionModel(
        sample_size=size.sample,
        block_out_channels=size.unet,
        layers_per_block=size.layers,
        cross_attention_dim=size.text,
        attention_head_dim=size.heads,
    )


def _vae(size: Size) -> AutoencoderKL:
    n = len(size.vae)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        block_out_channels=size.vae,
        layers_per_block=size.layers,
        latent_channels=4,
        sample_size=_SCALE * size.sample,
    )
