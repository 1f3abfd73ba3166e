"""Images a second against the plain pipeline and the hardware: ``python -m experiments.throughput device=cuda``."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.run import ProgramOptions, Run, command, option, say
from experiments.run.clock import now

if TYPE_CHECKING:
    import torch

    from steer_env.generators.stable_diffusion import StableDiffusionGenerator

_EPISODES, _IMAGES = 60_000, 10
_PROMPT = "nine small red star"
_TOKENS, _SCALE = 77, 8
_SPEED = ("channels_last", "compile", "tf32", "decode_batch")
"""Options that make a generator faster."""


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


SIZES = {
    "sd14": Size((320, 640, 1280, 1280), (128, 256, 512, 512), 768, 12, 8, 64),
    "small": Size((32, 64, 64, 64), (32, 32, 32, 32), 64, 2, 4, 8, 1),
}


@dataclass
class ThroughputOptions(ProgramOptions):
    """Measure a generator of Stable Diffusion's architecture against the plain pipeline and against the hardware.

    Weights are random, which makes no difference to the speed. The plain pipeline makes one image a call, as its
    documentation shows. The floor is the time that the floating-point operations of an image, counted, would take at
    the rate at which the device multiplies large matrices, measured.

    Args:
        size: sd14, Stable Diffusion 1.4's sizes; or small, of the same parts, for machines without a GPU.
        device: such as cuda or cpu.
        dtype: precision of the weights.
        steps: of the solver.
        guidance_scale: of classifier-free guidance, which doubles the denoiser's work above 1.
        channels_last, compile, tf32, decode_batch: what makes a generator faster, as options of a generator; the
            plain pipeline is measured without.
        batches: numbers of images made at a time; 0 stands for what fits into the GPU's memory.
        repeats: how often each is measured; medians are printed.
    """

    size: str = option("sd14", among=tuple(SIZES))
    device: str = "cuda"
    dtype: str = option("bfloat16", among=("float32", "float16", "bfloat16"))
    steps: int = option(20, least=1)
    guidance_scale: float = option(7.5, least=0)
    channels_last: bool = False
    compile: str = ""
    tf32: bool = False
    decode_batch: int = option(0, least=0)
    batches: list[int] = option([1, 4, 16, 64], least=0, length=1, unique=True)
    repeats: int = option(3, least=1)


@command(ThroughputOptions)
def main(options: ThroughputOptions, run: Run) -> None:
    """Measure each batch size and the plain pipeline in turn; print medians, and what they mean for 60,000 episodes."""
    import torch

    from steer_env.generators.stable_diffusion import StableDiffusionGenerator

    device, dtype = options.device, getattr(torch, options.dtype)
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use here: device=cpu size=small dtype=float32")
    with tempfile.TemporaryDirectory() as folder:
        save_random(SIZES[options.size], dtype, Path(folder))
        settings = {name: getattr(options, name) for name in ("steps", "guidance_scale", "device", "dtype")}
        settings["max_batch"] = min(options.batches) and max(options.batches)
        speed = {name: getattr(options, name) for name in _SPEED}
        generator, reference = (StableDiffusionGenerator(folder, **settings, **extra) for extra in (speed, {}))
    batches = [n or generator.max_batch for n in options.batches]
    calls = {n: ours(generator, n) for n in batches}
    rates: dict[int, list[float]] = {n: [] for n in batches}
    reference_rates: list[float] = []
    # Interleaved, so that a machine whose speed drifts doesn't favour one of them.
    for _ in range(options.repeats):
        reference_rates.append(1 / seconds(plain(reference), device))
        for n, call in calls.items():
            rates[n].append(n / seconds(call, device))
    _print(options, rates, reference_rates, matrix_rate(device, dtype))


def _print(options: ThroughputOptions, rates: dict[int, list[float]], reference: list[float], floor: float) -> None:
    import torch

    from steer_env.evaluation.reports import markdown_table

    denoiser, decoder = operations(SIZES[options.size])
    cost = options.steps * denoiser * (2 if options.guidance_scale > 1 else 1) + decoder
    rows = []
    for n, measured in rates.items():
        images = statistics.median(measured)
        ratio = statistics.median(one / other for one, other in zip(measured, reference, strict=True))
        per_episode, of_floor = f"{images / _IMAGES:.3f}", f"{images * cost / floor:.1%}"
        rows.append((str(n), f"{images:.2f}", per_episode, f"{ratio:.1f}", of_floor))
    rows.append(("plain pipeline", f"{statistics.median(reference):.2f}", "", "1.0", ""))
    columns = ["batch", "images/s", "episodes/s", "ratio to the plain pipeline", "of the matrix rate"]
    card = torch.cuda.get_device_name() if torch.device(options.device).type == "cuda" else options.device
    say(f"{card}, torch {torch.__version__}, {options.size}, {options.dtype}, {options.steps} steps; an image takes")
    say(f"{cost / 1e12:.3g} TFLOP, counted; large matrices are multiplied at {floor / 1e12:.3g} TFLOP/s, measured")
    say(", ".join(f"{name}={getattr(options, name)}" for name in _SPEED))
    print(markdown_table(pd.DataFrame(rows, columns=columns)))
    hours = _EPISODES * _IMAGES / max(statistics.median(measured) for measured in rates.values()) / 3600
    say(f"60,000 episodes of {_IMAGES} images would take {hours:.3g} h on one such device, {hours / 8:.3g} h on eight")


def ours(generator: StableDiffusionGenerator, n: int) -> Callable[[], Any]:
    """Makes n images at a time."""
    from steer_env.proposals import draw_latents

    latents = draw_latents(list(range(n)), generator.latent_shape).to(generator.device)
    conditioning = generator.encode([_PROMPT] * n)
    return lambda: generator.generate(latents, conditioning)


def plain(generator: StableDiffusionGenerator) -> Callable[[], Any]:
    """Makes one image, as the pipeline's documentation shows."""
    options = {"num_inference_steps": generator.steps, "guidance_scale": generator.guidance_scale}
    return lambda: generator.pipeline(_PROMPT, **options)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    import torch

    side = 8192 if torch.device(device).type == "cuda" else 1024
    one = torch.randn(side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(seconds(lambda: one @ one, device) for _ in range(5))


def seconds(call: Callable[[], Any], device: str) -> float:
    """Of a second call: the first may compile or allocate."""
    call()
    start = now(device)
    call()
    return now(device) - start


def save_random(size: Size, dtype: torch.dtype, folder: Path) -> None:
    """Write a checkpoint of that size with random weights, in Stable Diffusion format."""
    import torch

    from steer_env import assets
    from steer_env.compatibility import mend_torchvision, quiet

    mend_torchvision()
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    widths = {"hidden_size": size.text, "intermediate_size": 4 * size.text, "projection_dim": size.text}
    depths = {"num_hidden_layers": size.text_layers, "num_attention_heads": size.text // 64}
    tokenizer = AutoTokenizer.from_pretrained(assets.ROOT / "tiles-generator" / "tokenizer", trust_remote_code=False)
    tokenizer.model_max_length = _TOKENS
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    with quiet():
        text_encoder = CLIPTextModel(CLIPTextConfig(**widths, **depths, max_position_embeddings=_TOKENS))
        vae, unet = _networks(size)
        StableDiffusionPipeline(
            vae=vae.to(dtype),
            text_encoder=text_encoder.to(dtype),
            tokenizer=tokenizer,
            unet=unet.to(dtype),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)


def _networks(size: Size) -> tuple[Any, Any]:
    """Autoencoder and denoiser; other settings are diffusers' defaults, which are Stable Diffusion 1.4's."""
    from steer_env.compatibility import mend_torchvision

    mend_torchvision()
    from diffusers import AutoencoderKL, UNet2DConditionModel

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(size.vae),
        up_block_types=("UpDecoderBlock2D",) * len(size.vae),
        block_out_channels=size.vae,
        layers_per_block=size.layers,
        sample_size=_SCALE * size.sample,
    )
    unet = UNet2DConditionModel(
        sample_size=size.sample,
        block_out_channels=size.unet,
        layers_per_block=size.layers,
        cross_attention_dim=size.text,
        attention_head_dim=size.heads,
    )
    return vae, unet


def operations(size: Size) -> tuple[int, int]:
    """Floating-point operations of one pass of the denoiser, and of decoding one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.inference_mode():
        vae, unet = _networks(size)
        latent = torch.zeros(1, 4, size.sample, size.sample)
        with FlopCounterMode(display=False) as denoising:
            unet(latent, torch.tensor(1), torch.zeros(1, _TOKENS, size.text))
        with FlopCounterMode(display=False) as decoding:
            vae.decode(latent)
    return int(denoising.get_total_flops()), int(decoding.get_total_flops())


if __name__ == "__main__":
    main()
