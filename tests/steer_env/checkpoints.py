"""Random weights in the formats of the real ones, small on disk; and what tests of metrics show them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cloudpickle
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from steer_env import assets

WIDTH, DEPTH, PIXELS = 768, 12, 224
HUBCONF = """
import torch
from torch import nn

dependencies = ["torch"]


def dino_vitb16(pretrained=True):
    from dreamsim.feature_extraction.vision_transformer import vit_base

    model = vit_base(patch_size=16)
    url = "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth"
    model.load_state_dict(torch.hub.load_state_dict_from_url(url, weights_only=False))
    return model
"""
"""DINO's own repository can't be had here; the architecture is the copy of it that the package brings."""


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def pictures(n: int, size: int, seed: int = 0) -> Tensor:
    """Smooth random pictures, in the 256 values that eight bits allow."""
    coarse = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return (nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 255).round() / 255


def pil(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def vit_shapes(patch: int, before_blocks: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a ViT-B's weights.

    Args:
        patch: pixels a side.
        before_blocks: CLIP's have a layer norm there.
    """
    tokens = (PIXELS // patch) ** 2 + 1
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, tokens, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, patch, patch),
        "patch_embed.proj.bias": (WIDTH,),
    }
    widths = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
    widths |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
    norms = ["norm", *(["pos_drop"] if before_blocks else [])]
    for block in range(DEPTH):
        norms += [f"blocks.{block}.norm1", f"blocks.{block}.norm2"]
        for name, (rows, columns) in widths.items():
            shapes[f"blocks.{block}.{name}.weight"] = (rows, columns)
            shapes[f"blocks.{block}.{name}.bias"] = (rows,)
    for name in norms:
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    return shapes


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Normal values of standard deviation 0.03, all views of one buffer, and norms that scale by 1."""
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    buffer = torch.randn(max(sizes) + len(sizes), generator=torch.Generator().manual_seed(seed)) * 0.03
    weights = {
        name: buffer[i : i + size].view(shape)
        for i, ((name, shape), size) in enumerate(zip(shapes.items(), sizes, strict=True))
    }
    ones = torch.ones(WIDTH)
    scales = {name: ones for name in weights if name.endswith(("norm.weight", "norm1.weight", "norm2.weight"))}
    return weights | scales


def dreamsim_folder(folder: Path, type: str, seed: int = 0) -> Path:
    """A cache folder of the ``dreamsim`` package, for one of its types."""
    folder.mkdir(parents=True, exist_ok=True)
    patched, base = type.endswith("_patch"), type.removesuffix("_patch")
    backbones = ["dino_vitb16", "clip_vitb16", "open_clip_vitb16"] if base == "ensemble" else [base]
    for name in backbones:
        save_backbone(folder, name, seed)
    adapter = "ensemble_lora" if base == "ensemble" else f"{base}_{'patch' if patched else 'single'}_lora"
    save_adapter(folder / adapter, len(backbones), seed)
    return folder


def save_backbone(folder: Path, name: str, seed: int = 0) -> None:
    """The pretrained weights of one ViT."""
    patch = int(name[-2:])
    clip = "clip" in name
    weights = random_weights(vit_shapes(patch, before_blocks=clip) | ({"proj": (WIDTH, 512)} if clip else {}), seed)
    if clip:
        torch.save({"state_dict": weights}, folder / f"{name}_pretrain.pth.tar")
    elif name == "synclr_vitb16":
        renamed = {f"module.visual.{key}": value for key, value in weights.items()}
        torch.save({"model": renamed}, folder / "synclr_vit_b_16.pth")
    elif name == "dino_vitb16":
        torch.save({"student": random_weights(DINO_HEAD, seed)}, folder / "dino_vitb16_pretrain.pth")
        (folder / "facebookresearch_dino_main").mkdir(exist_ok=True)
        (folder / "facebookresearch_dino_main" / "hubconf.py").write_text(HUBCONF)
        (folder / "checkpoints").mkdir(exist_ok=True)
        torch.save(weights, folder / "checkpoints" / "dino_vitbase16_pretrain.pth")
    else:
        raise ValueError(name)


DINO_HEAD: dict[str, tuple[int, ...]] = {
    "module.head.mlp.0.weight": (2048, WIDTH),
    "module.head.mlp.0.bias": (2048,),
    "module.head.mlp.2.weight": (2048, 2048),
    "module.head.mlp.2.bias": (2048,),
    "module.head.mlp.4.weight": (256, 2048),
    "module.head.mlp.4.bias": (256,),
    "module.head.last_layer.weight": (2048, 256),
}


def save_adapter(folder: Path, extractors: int = 1, seed: int = 0, prefix: str = "base_model.model.") -> None:
    """The low-rank weights that DreamSim trained, as ``peft`` writes them."""
    folder.mkdir(exist_ok=True)
    settings = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "bias": "none", "target_modules": ["qkv"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"peft_type": "LORA"}))
    rng = torch.Generator().manual_seed(seed)
    weights: dict[str, Any] = {}
    for extractor in range(extractors):
        for block in range(DEPTH):
            name = f"{prefix}extractor_list.{extractor}.model.blocks.{block}.attn.qkv"
            weights[f"{name}.lora_A.weight"] = torch.randn(4, WIDTH, generator=rng) * 0.03
            weights[f"{name}.lora_B.weight"] = torch.randn(3 * WIDTH, 4, generator=rng) * 0.03
    save_file(weights, folder / "adapter_model.safetensors")


def clip_folder(folder: Path, seed: int = 0, **vision: Any) -> Path:
    """A CLIP model of two narrow layers as transformers saves it, with its preprocessing and a small tokenizer.

    Args:
        folder: where to.
        seed: of the weights.
        vision: changes to the configuration of its vision half.
    """
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    half = narrow | {"projection_dim": 16}
    text = half | {"vocab_size": 63, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "initializer_factor": 4.0}
    vision = half | {"image_size": 32, "patch_size": 8, "initializer_factor": 4.0} | vision
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=vision["projection_dim"]))
    model.save_pretrained(folder)
    size = vision["image_size"]
    crop = {"height": size, "width": size}
    CLIPImageProcessor(size={"shortest_edge": size}, crop_size=crop).save_pretrained(folder)
    for file in (assets.ROOT / "tiles-generator" / "tokenizer").iterdir():
        shutil.copy(file, folder)
    return folder


def check_travels(metric: Any) -> None:
    """A metric that is sent to another process, and to a device there, is all of it on that device."""
    images = pictures(2, 48)
    sent = cloudpickle.loads(cloudpickle.dumps(metric))
    assert sent.to("cpu") is sent
    assert torch.equal(sent.embed(images), metric.embed(images))
    # Whatever stayed behind couldn't be computed with. The meta device knows no autocast.
    with patch("torch.autocast", lambda *_, **__: nullcontext()):
        assert sent.to("meta").embed(images.to("meta")).device.type == "meta"


def diffusion_folder(folder: Path, xl: bool = False, **pipeline: Any) -> Path:
    """A Stable Diffusion checkpoint of tiny parts, or one of Stable Diffusion XL; its images are 16 pixels a side.

    Args:
        folder: where to.
        xl: whether it has two text encoders, and a denoiser that is told the image's size.
        pipeline: further arguments of the pipeline's class.
    """
    import diffusers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets.ROOT / "tiles-generator" / "tokenizer")
    tokenizer.model_max_length = 12
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = {
            "vae": _tiny_vae(),
            "unet": _tiny_unet(xl),
            "text_encoder": _tiny_text(tokenizer),
            "tokenizer": tokenizer,
        }
        if xl:
            parts |= {"text_encoder_2": _tiny_text(tokenizer, projected=True), "tokenizer_2": tokenizer}
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if xl:
        scheduler = diffusers.EulerDiscreteScheduler(**betas, timestep_spacing="leading", steps_offset=1)
        made = diffusers.StableDiffusionXLPipeline(**parts, scheduler=scheduler, add_watermarker=False, **pipeline)
    else:
        scheduler = diffusers.DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        made = diffusers.StableDiffusionPipeline(**parts, scheduler=scheduler, **nothing, **pipeline)
    made.save_pretrained(folder)
    return folder


def _tiny_unet(xl: bool) -> Any:
    from diffusers import UNet2DConditionModel

    text_time: dict[str, Any] = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 16,
        "use_linear_projection": True,
    }
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=32 if xl else 16,
        **(text_time if xl else {}),
    )


def _tiny_vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
    )


def _tiny_text(tokenizer: Any, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    narrow = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    # Where a text ends is where its pooled embedding is taken.
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPTextConfig(**narrow, **ends, projection_dim=16, max_position_embeddings=12)
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
