"""Stages 2 and 3: a text-conditioned latent diffusion model, and its student, which samples in few unguided steps."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from rich.progress import track
from torch import Tensor, nn
from transformers import CLIPTextModel

from experiments.pretrain.options import DenoiserOptions, StudentOptions
from experiments.pretrain.text import CaptionWriter, build_text_encoder, build_tokenizer, tokenize
from experiments.run.fitting import fit
from experiments.run.options import Budget
from steer_env.tiles import tilings
from steer_env.tiles.renderer import render


class Denoiser(nn.Module):
    """Text encoder and UNet, trained together."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predicted velocity, shaped as the latents."""
        return self.unet(latents, timesteps, self.text_encoder(tokens)[0]).sample


def build_denoiser(config: DenoiserOptions, latent_channels: int, latent_size: int) -> Denoiser:
    """A denoiser with random weights."""
    unet = UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        layers_per_block=1,
        block_out_channels=tuple(config.widths),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=config.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
        # Besides cross-attention, the pooled caption scales and shifts every layer: what shape to draw concerns the
        # whole picture, also at the resolution that doesn't attend.
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
        resnet_time_scale_shift="scale_shift",
    )
    return Denoiser(build_text_encoder(config.text_width), unet)


def hasten(model: Denoiser) -> None:
    """Arrange a denoiser for fast training, in place."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if model.unet.device.type == "cpu":
        # The fused attention's backward pass takes a third of a step in bfloat16; plain products don't.
        model.unet.set_attn_processor(AttnProcessor())


def build_scheduler() -> DDIMScheduler:
    """Velocity prediction with zero terminal signal, so that the first latent is pure noise."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
    )


@dataclass
class TileLatents:
    """Encoded tilings and what they show: latents float16 (N, C, H, W), factors int (N, 8)."""

    latents: Tensor
    factors: np.ndarray

    @classmethod
    def encode(
        cls, vae: AutoencoderTiny, n: int, image_size: int, nuisance: tilings.Nuisance, rng: np.random.Generator
    ) -> TileLatents:
        """Render and encode n tilings."""
        device = next(vae.parameters()).device
        factors = tilings.sample_factors(n, rng)
        parts = []
        with torch.no_grad():
            for start in track(range(0, n, 256), "encoding tilings"):
                images = render(factors[start : start + 256], image_size, rng, nuisance).to(device) * 2 - 1
                parts.append(vae.encode(images).latents.half().cpu())
        return cls(torch.cat(parts), factors)


class NoisedBatches:
    """Draws what denoisers learn from: noised latents, their velocity targets, times and tokenised captions.

    A batch is a function of the seed and of the step's number, so that training resumes exactly.
    """

    def __init__(
        self, data: TileLatents, writer: CaptionWriter, batch_size: int, seed: int, device: torch.device
    ) -> None:
        self.data, self.writer, self.batch_size, self.device = data, writer, batch_size, device
        self.seed = seed
        self.tokenizer = build_tokenizer()
        self.alphas = build_scheduler().alphas_cumprod

    def rng(self, step: int) -> np.random.Generator:
        """Source of one step's draws."""
        return np.random.default_rng([self.seed, 3, step])

    def draw(self, timesteps: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noised latents at the given times (B,), their velocities, and tokens."""
        rows = rng.integers(0, len(self.data.factors), self.batch_size)
        latents = self.data.latents[torch.from_numpy(rows)].float()
        captions = self.writer.write(self.data.factors[rows], rng)
        noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
        signal = self.alphas[timesteps].sqrt()[:, None, None, None]
        spread = (1 - self.alphas[timesteps]).sqrt()[:, None, None, None]
        noised, velocity = signal * latents + spread * noise, signal * noise - spread * latents
        tokens = tokenize(self.tokenizer, captions)
        return noised.to(self.device), velocity.to(self.device), tokens.to(self.device)

    def stratified_timesteps(self, rng: np.random.Generator) -> Tensor:
        """One time in each of B equal slices of [0, 1000), in random order: int64 (B,)."""
        slices = rng.permutation(self.batch_size) + rng.random(self.batch_size)
        return torch.from_numpy((slices / self.batch_size * len(self.alphas)).astype(np.int64))


def train_denoiser(
    config: DenoiserOptions, data: TileLatents, seed: int, device: str = "cpu", snapshot: Path | None = None
) -> Denoiser:
    """Train text encoder and UNet together on the velocity objective; resumes from the snapshot, if there is one."""
    torch.manual_seed(seed)
    _, channels, size, _ = data.latents.shape
    model = build_denoiser(config, channels, size).to(device)
    hasten(model)
    batches = NoisedBatches(data, CaptionWriter(), config.budget.batch_size, seed, torch.device(device))

    def loss(step: int) -> Tensor:
        rng = batches.rng(step)
        timesteps = batches.stratified_timesteps(rng)
        noised, velocity, tokens = batches.draw(timesteps, rng)
        return nn.functional.mse_loss(model(noised, timesteps.to(device), tokens).float(), velocity)

    fit(model, loss, config.budget, "denoiser", snapshot)
    return model


def distil(config: StudentOptions, teacher: Denoiser, data: TileLatents, seed: int) -> Denoiser:
    """Shorten the teacher to ``config.halvings[-1]`` unguided steps, by progressive distillation.

    Salimans & Ho (2022), with guidance folded into the first halving as in Meng et al. (2023).
    """
    guidance = config.guidance_scale
    for steps in config.halvings:
        teacher = _halve(teacher, steps, guidance, config.budget, data, seed + steps)
        guidance = 1.0
    return teacher


def _halve(teacher: Denoiser, steps: int, guidance: float, budget: Budget, data: TileLatents, seed: int) -> Denoiser:
    device = next(teacher.parameters()).device
    teacher.requires_grad_(False)
    student = copy.deepcopy(teacher).requires_grad_(True)
    hasten(student)
    # No empty captions: the student's guidance is already inside it, and prompts never need to be dropped.
    batches = NoisedBatches(data, CaptionWriter(empty_rate=0.02), budget.batch_size, seed, device)
    path = DDIMPath(2 * steps, device)
    empty = tokenize(batches.tokenizer, [""]).to(device)

    def velocity(latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        if guidance == 1:
            return teacher(latents, timesteps, tokens).float()
        both = torch.cat([tokens, empty.expand_as(tokens)])
        named, unnamed = teacher(latents.repeat(2, 1, 1, 1), timesteps.repeat(2), both).float().chunk(2)
        return unnamed + guidance * (named - unnamed)

    def loss(step: int) -> Tensor:
        rng = batches.rng(step)
        node: Tensor = torch.from_numpy(2 * rng.integers(0, steps, budget.batch_size)).to(device)
        noised, _velocity, tokens = batches.draw(path.timesteps[node].cpu(), rng)
        with torch.no_grad():
            middle = path.step(noised, velocity(noised, path.timesteps[node], tokens), node, node + 1)
            end = path.step(middle, velocity(middle, path.timesteps[node + 1], tokens), node + 1, node + 2)
            target = path.velocity_between(noised, end, node, node + 2)
        return nn.functional.mse_loss(student(noised, path.timesteps[node], tokens).float(), target)

    fit(student, loss, budget, f"student of {steps} steps")
    return student


class DDIMPath:
    """The deterministic DDIM trajectory on a grid of ``steps`` trailing times; node ``steps`` is the clean end."""

    def __init__(self, steps: int, device: torch.device) -> None:
        scheduler = build_scheduler()
        scheduler.set_timesteps(steps)
        self.timesteps = scheduler.timesteps.to(device)
        alphas = torch.cat([scheduler.alphas_cumprod[scheduler.timesteps], torch.ones(1)]).to(device)
        self.signal, self.spread = alphas.sqrt(), (1 - alphas).sqrt()

    def step(self, latents: Tensor, velocity: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Move from node ``start`` to node ``end``, each int (B,)."""
        signal, spread = self._at(start)
        clean, noise = signal * latents - spread * velocity, spread * latents + signal * velocity
        signal, spread = self._at(end)
        return signal * clean + spread * noise

    def velocity_between(self, latents: Tensor, target: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """The velocity at ``start`` that carries ``latents`` to ``target`` at ``end`` in one step."""
        (a0, s0), (a1, s1) = self._at(start), self._at(end)
        return (target - (a1 * a0 + s1 * s0) * latents) / (s1 * a0 - a1 * s0)

    def _at(self, node: Tensor) -> tuple[Tensor, Tensor]:
        return self.signal[node][:, None, None, None], self.spread[node][:, None, None, None]
