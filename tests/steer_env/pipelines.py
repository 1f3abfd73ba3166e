"""Checkpoints of tiny parts with random weights, for pipelines of diffusers beyond Stable Diffusion 1 to XL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from steer_env.compatibility import mend_torchvision, quiet
from tests.steer_env.checkpoints import diffusion_folder, tiny_text, tiny_tokenizer, tiny_vae

_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
_TEXT_PROJECTED = 16


def pipeline_folder(name: str, folder: Path) -> Path:
    """One of :data:`FAMILIES`; images are 16 pixels a side, SANA's 32."""
    mend_torchvision()
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        FAMILIES[name](folder)
    return folder


def check_steered(generator: dict[str, Any]) -> None:
    """Users steer it by images and by text, twice alike."""
    options = {"generator": generator, "metric": "pixel-correlation", "rounds": 2, "num_envs": 2}

    def play(id: str, actions: list[Any]) -> list[np.ndarray]:
        env = gym.make_vec(f"steer_env:steer_env/{id}", **options)
        first = env.reset(seed=0)[1]["similarity"]
        return [first, *(env.step(action)[4]["similarity"] for action in actions)]

    for id, actions in (
        ("ImageSteering-v0", [np.array([9, 4]), np.array([9, 9])]),
        ("TextSteering-v0", [("a star", "red rings"), ("nine squares", "no border")]),
    ):
        played = play(id, actions)
        assert np.array_equal(played, play(id, actions))
        assert np.ptp(played) > 0


def _flowing_vae() -> Any:
    """A decoder that shifts its latents."""
    return tiny_vae(shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False)


def _t5(tokenizer: Any) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), **_T5))


def _stable_diffusion_3(folder: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    tokenizer = tiny_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=16,
        pooled_projection_dim=2 * _TEXT_PROJECTED,
        pos_embed_max_size=16,
    )
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_flowing_vae(),
        text_encoder=tiny_text(tokenizer, projected=True),
        tokenizer=tokenizer,
        text_encoder_2=tiny_text(tokenizer, projected=True),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(tokenizer),
        tokenizer_3=tokenizer,
    ).save_pretrained(folder)


def _flux(folder: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    tokenizer = tiny_tokenizer()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=[4, 4, 8],
        guidance_embeds=True,
    )
    FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_flowing_vae(),
        text_encoder=tiny_text(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=_t5(tokenizer),
        tokenizer_2=tokenizer,
    ).save_pretrained(folder)


def _pixart(folder: Path) -> None:
    from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel

    tokenizer = tiny_tokenizer()
    transformer = PixArtTransformer2DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=16,
        cross_attention_dim=16,
        in_channels=4,
        out_channels=8,
    )
    PixArtAlphaPipeline(
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
        vae=tiny_vae(),
        text_encoder=_t5(tokenizer),
        tokenizer=tokenizer,
    ).save_pretrained(folder)


def _sana(folder: Path) -> None:
    from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    tokenizer = tiny_tokenizer()
    narrow = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    transformer = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=8,
        sample_size=16,
    )
    layers: dict[str, Any] = {}
    for half in ("encoder", "decoder"):
        layers |= {
            f"{half}_block_types": ("ResBlock", "EfficientViTBlock"),
            f"{half}_block_out_channels": (8, 8),
            f"{half}_qkv_multiscales": ((), (5,)),
            f"{half}_layers_per_block": (1, 1),
        }
    vae = AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
        **layers,
    )
    SanaPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=vae,
        text_encoder=Gemma2Model(Gemma2Config(vocab_size=len(tokenizer), **narrow, **heads)),
        tokenizer=tokenizer,
    ).save_pretrained(folder)


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "sd": diffusion_folder,
    "xl": lambda folder: diffusion_folder(folder, xl=True),
    "sd3": _stable_diffusion_3,
    "flux": _flux,
    "pixart": _pixart,
    "sana": _sana,
}
SIZES: dict[str, dict[str, Any]] = {
    "flux": {"height": 16, "width": 16, "arguments": {"max_sequence_length": 12}},
    "sana": {"height": 32, "width": 32},
}
"""What pipelines need that would make larger images."""
