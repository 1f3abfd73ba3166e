"""Random weights in the formats of the real ones, small on disk; and what tests of metrics show them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
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
from steer_env.proposals import draw_latents

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


def images_of(generator: Any, prompts: Sequence[str] = ("a star",)) -> Tensor:
    """What a generator makes of the noise of seeds 0, 1, …"""
    latents = draw_latents(list(range(len(prompts))), generator.latent_shape)
    return generator.generate(latents, generator.encode(prompts))


def check_against_diffusers(
    generator: Any, checkpoint: Any, steps: int, guidance: float, prompts: Sequence[str] = ("a star",), **options: Any
) -> Tensor:
    """A generator's images, which must be those of diffusers' own pipeline.

    Args:
        generator: ours, with these steps and this guidance scale.
        checkpoint: its folder, or a pipeline.
        steps, guidance, options: of the pipeline's call.
        prompts: see :func:`images_of`.
    """
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(checkpoint) if isinstance(checkpoint, Path) else checkpoint
    pipeline.set_progress_bar_config(disable=True)
    options |= {"num_inference_steps": steps, "guidance_scale": guidance, "output_type": "pt"}
    latents = draw_latents(list(range(len(prompts))), generator.latent_shape)
    expected = pipeline(list(prompts), latents=latents, **options).images.float()
    assert expected.std() > 1e-3
    images = images_of(generator, prompts)
    torch.testing.assert_close(images, expected, atol=2e-5, rtol=0)
    return images


def change(path: Path, **settings: Any) -> None:
    """Set entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def diffusion_folder(
    folder: Path, xl: bool = False, unet: Mapping[str, Any] | None = None, scheduler: Mapping[str, Any] | None = None
) -> Path:
    """A Stable Diffusion checkpoint of tiny parts, or one of Stable Diffusion XL; its images are 16 pixels a side.

    Args:
        folder: where to.
        xl: whether it has two text encoders, and a denoiser that takes the image's size.
        unet, scheduler: changes to their configurations.
    """
    import diffusers

    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = {
            "vae": tiny_vae(),
            "unet": _tiny_unet(xl, **(unet or {})),
            "text_encoder": tiny_text(tokenizer),
            "tokenizer": tokenizer,
        }
        if xl:
            parts |= {"text_encoder_2": tiny_text(tokenizer, projected=True), "tokenizer_2": tokenizer}
    betas: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if xl:
        options = betas | {"timestep_spacing": "leading", "steps_offset": 1} | dict(scheduler or {})
        solver: Any = diffusers.EulerDiscreteScheduler(**options)
        made: Any = diffusers.StableDiffusionXLPipeline(**parts, scheduler=solver, add_watermarker=False)
    else:
        options = betas | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1} | dict(scheduler or {})
        solver = diffusers.DDIMScheduler(**options)
        nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        made = diffusers.StableDiffusionPipeline(**parts, scheduler=solver, **nothing)
    made.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> Any:
    """The embedded model's, which reads 12 words."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets.ROOT / "tiles-generator" / "tokenizer")
    tokenizer.model_max_length = 12
    return tokenizer


def _tiny_unet(xl: bool, **changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    text_time: dict[str, Any] = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 * 4 + 16,
        "use_linear_projection": True,
    }
    usual = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": 32 if xl else 16,
    }
    return UNet2DConditionModel(**{**usual, **(text_time if xl else {}), **changes})


def tiny_vae(**further: Any) -> Any:
    """Two times smaller latents of four channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
        **further,
    )


def tiny_text(tokenizer: Any, projected: bool = False) -> Any:
    """A CLIP text encoder of width 16."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    narrow = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    # Where a text ends is where its pooled embedding is taken.
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPTextConfig(**narrow, **ends, projection_dim=16, max_position_embeddings=12)
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def tiny_decoder(folder: Path) -> Path:
    """A decoder in TAESD's format that doubles the resolution once, as the tiny checkpoint's own does."""
    from diffusers import AutoencoderTiny

    narrow = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = AutoencoderTiny(**narrow, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1))
    made.save_pretrained(folder)
    return folder


def single_file(folder: Path, file: Path) -> Path:
    """The weights of :func:`diffusion_folder` under the names of Stable Diffusion's first release, in one file."""
    from safetensors.torch import load_file

    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    old = {f"model.diffusion_model.{_old(_UNET, name)}": value for name, value in unet.items()}
    for name, value in vae.items():
        # Attention was a convolution of one pixel.
        pixel = "attentions" in name and value.ndim == 2
        old[f"first_stage_model.{_old(_VAE, name)}"] = value[:, :, None, None] if pixel else value
    for name, value in text.items():
        old[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    save_file({name: value.contiguous().clone() for name, value in old.items()}, file)
    return file


def _old(table: Mapping[str, str], name: str) -> str:
    for pattern, replacement in table.items():
        name = re.sub(pattern, replacement, name)
    return name


_UNET = {
    r"^time_embedding.linear_1": "time_embed.0",
    r"^time_embedding.linear_2": "time_embed.2",
    r"^conv_in": "input_blocks.0.0",
    r"^conv_norm_out": "out.0",
    r"^conv_out": "out.2",
    r"^down_blocks.0.resnets.0": "input_blocks.1.0",
    r"^down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    r"^down_blocks.1.resnets.0": "input_blocks.3.0",
    r"^down_blocks.1.attentions.0": "input_blocks.3.1",
    r"^mid_block.resnets.0": "middle_block.0",
    r"^mid_block.attentions.0": "middle_block.1",
    r"^mid_block.resnets.1": "middle_block.2",
    r"^up_blocks.0.resnets.(\d)": r"output_blocks.\1.0",
    r"^up_blocks.0.attentions.(\d)": r"output_blocks.\1.1",
    r"^up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    r"^up_blocks.1.resnets.0": "output_blocks.2.0",
    r"^up_blocks.1.resnets.1": "output_blocks.3.0",
    r"\.norm1\.(?=weight|bias)(?<!transformer_blocks.0.norm1.)": ".in_layers.0.",
    r"\.conv1": ".in_layers.2",
    r"\.norm2\.(?=weight|bias)(?<!transformer_blocks.0.norm2.)": ".out_layers.0.",
    r"\.conv2": ".out_layers.3",
    r"\.time_emb_proj": ".emb_layers.1",
    r"\.conv_shortcut": ".skip_connection",
}
_VAE = {
    r"conv_norm_out": "norm_out",
    r"down_blocks.(\d).resnets.(\d)": r"down.\1.block.\2",
    r"down_blocks.(\d).downsamplers.0": r"down.\1.downsample",
    r"up_blocks.0.resnets.(\d)": r"up.1.block.\1",
    r"up_blocks.1.resnets.(\d)": r"up.0.block.\1",
    r"up_blocks.0.upsamplers.0": "up.1.upsample",
    r"mid_block.attentions.0": "mid.attn_1",
    r"mid_block.resnets.0": "mid.block_1",
    r"mid_block.resnets.1": "mid.block_2",
    r"group_norm": "norm",
    r"to_q": "q",
    r"to_k": "k",
    r"to_v": "v",
    r"to_out.0": "proj_out",
    r"conv_shortcut": "nin_shortcut",
}
"""Names of diffusers → names of the first release, in the order of their replacement, for the tiny checkpoint."""
