"""Models of Stable Diffusion's sizes with random weights, and what they cost: speed doesn't depend on the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from steer_env import assets
from steer_env.compatibility import mend_torchvision, quiet
from steer_env.types import Metric

_TOKENS, _SCALE = 77, 8


@dataclass(frozen=True)
class Size:
    """Widths and depths of a checkpoint.

    Args:
        unet, vae: channels by resolution.
        text: width and layers of each text encoder.
        heads: of the denoiser's attention.
        sample: the latent's side, an eighth of the image's.
        layers: of each block.
        xl: transformer layers by resolution, of Stable Diffusion XL's kind of denoiser; empty for 1's.
    """

    unet: tuple[int, ...]
    vae: tuple[int, ...]
    text: tuple[tuple[int, int], ...]
    heads: int | tuple[int, ...]
    sample: int
    layers: int = 2
    xl: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Of what the denoiser attends to."""
        return sum(width for width, _ in self.text)


SIZES = {
    "sd14": Size((320, 640, 1280, 1280), (128, 256, 512, 512), ((768, 12),), 8, 64),
    "sdxl": Size((320, 640, 1280), (128, 256, 512, 512), ((768, 12), (1280, 32)), (5, 10, 20), 128, xl=(1, 2, 10)),
    "small": Size((32, 64, 64, 64), (32, 32, 32, 32), ((64, 2),), 4, 8, 1),
    "small-xl": Size((32, 64, 64), (32, 32, 32, 32), ((64, 1), (64, 1)), (2, 4, 4), 8, 1, (1, 1, 1)),
}
"""Stable Diffusion 1.4's and XL's sizes, and ones of the same parts for machines without a GPU."""


def networks(size: Size) -> tuple[Any, Any]:
    """Autoencoder and denoiser; other settings are diffusers' defaults, which are Stable Diffusion 1.4's."""
    mend_torchvision()
    from diffusers import AutoencoderKL, UNet2DConditionModel

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(size.vae),
        up_block_types=("UpDecoderBlock2D",) * len(size.vae),
        block_out_channels=size.vae,
        layers_per_block=size.layers,
        sample_size=_SCALE * size.sample,
    )
    xl: dict[str, Any] = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": size.xl,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8 * size.heads[0] if isinstance(size.heads, tuple) else 0,
        "use_linear_projection": True,
    }
    xl["projection_class_embeddings_input_dim"] = 6 * xl["addition_time_embed_dim"] + size.text[-1][0]
    unet = UNet2DConditionModel(
        sample_size=size.sample,
        block_out_channels=size.unet,
        layers_per_block=size.layers,
        cross_attention_dim=size.width,
        attention_head_dim=size.heads,
        **(xl if size.xl else {}),
    )
    return vae, unet


@cache
def operations(size: Size) -> tuple[int, int]:
    """Floating-point operations of one pass of the denoiser, and of decoding one image, counted without computing."""
    with torch.device("meta"), torch.inference_mode():
        vae, unet = networks(size)
        latent = torch.zeros(1, 4, size.sample, size.sample)
        known = {"text_embeds": torch.zeros(1, size.text[-1][0]), "time_ids": torch.zeros(1, 6)} if size.xl else None
        with FlopCounterMode(display=False) as denoising:
            unet(latent, torch.tensor(1), torch.zeros(1, _TOKENS, size.width), added_cond_kwargs=known)
        with FlopCounterMode(display=False) as decoding:
            vae.decode(latent)
    return int(denoising.get_total_flops()), int(decoding.get_total_flops())


def save_random(size: Size, dtype: torch.dtype, device: str, folder: Path) -> Path:
    """Write a checkpoint of that size with random weights, in diffusers' format."""
    mend_torchvision()
    import diffusers
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(assets.ROOT / "tiles-generator" / "tokenizer", trust_remote_code=False)
    tokenizer.model_max_length = _TOKENS
    betas: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = diffusers.DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    # Billions of numbers are drawn faster where the model will run.
    with quiet(), torch.device(device):
        vae, unet = networks(size)
        texts = _text_encoders(size.text)
    parts = {"vae": vae.to(dtype), "unet": unet.to(dtype), "tokenizer": tokenizer, "scheduler": scheduler}
    parts |= {f"text_encoder{end}": text.to(dtype) for end, text in zip(("", "_2"), texts, strict=False)}
    with quiet():
        if size.xl:
            pipeline: Any = diffusers.StableDiffusionXLPipeline(**parts, tokenizer_2=tokenizer, add_watermarker=False)
        else:
            nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            pipeline = diffusers.StableDiffusionPipeline(**parts, **nothing)
        pipeline.save_pretrained(folder)
    return folder


def _text_encoders(sizes: Sequence[tuple[int, int]]) -> list[Any]:
    """The last of several has a projection, as Stable Diffusion XL's has."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    made = []
    for place, (width, layers) in enumerate(sizes):
        widths = {"hidden_size": width, "intermediate_size": 4 * width, "projection_dim": width}
        depths = {"num_hidden_layers": max(2, layers), "num_attention_heads": width // 64}
        config = CLIPTextConfig(**widths, **depths, max_position_embeddings=_TOKENS)
        made.append((CLIPTextModelWithProjection if place else CLIPTextModel)(config))
    return made


def transformer_metric(device: str, dtype: torch.dtype, small: bool) -> Metric:
    """Three ViT-B/16 on 224 pixels, as DreamSim's ensemble is made of, with random weights: cosine of their outputs."""
    mend_torchvision()
    from transformers import ViTConfig, ViTModel

    narrow = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    with quiet(), torch.device(device):
        models = [ViTModel(ViTConfig(**(narrow if small else {}))).eval().to(dtype) for _ in range(3)]

    class Ensemble(Metric):
        id, dimensions = "three-vit-b16", 3 * models[0].config.hidden_size

        def embed(self, images: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                resized = torch.nn.functional.interpolate(images, (224, 224), mode="bicubic", antialias=True).to(dtype)
                outputs = [model(pixel_values=resized).pooler_output for model in models]
            return torch.nn.functional.normalize(torch.cat(outputs, dim=1).float(), dim=1)

    Ensemble.device = device  # type: ignore[attr-defined]
    return Ensemble()
