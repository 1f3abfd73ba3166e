"""Stage 1: the image autoencoder, four pixels to a latent cell."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from experiments.pretrain.options import AutoencoderOptions
from experiments.run.fitting import fit
from steer_env.tiles import tilings
from steer_env.tiles.renderer import render


class _NormalisedAutoencoder(nn.Module):
    """An autoencoder whose latent has zero mean and unit variance in every channel while it learns."""

    def __init__(self, vae: AutoencoderTiny, noise: float) -> None:
        super().__init__()
        self.vae = vae
        self.norm = nn.BatchNorm2d(vae.config.latent_channels, affine=False, momentum=0.02)
        self.noise = noise

    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        latents = self.norm(self.vae.encoder(images))
        noise = torch.randn(latents.shape, generator=generator, dtype=torch.float32).to(latents)
        return self.vae.decoder(latents + self.noise * noise)

    @torch.no_grad()
    def folded(self) -> AutoencoderTiny:
        """The plain autoencoder: the normalisation becomes part of the encoder's last convolution."""
        last = self.vae.encoder.layers[-1]
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        scale = (variance + self.norm.eps).rsqrt()
        last.weight.mul_(scale[:, None, None, None])
        last.bias.sub_(mean).mul_(scale)
        return self.vae


def train_autoencoder(config: AutoencoderOptions, seed: int, device: str = "cpu") -> AutoencoderTiny:
    """Train on rendered tilings; the latent comes out normalised, so that the scaling factor is 1."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    noise = torch.Generator().manual_seed(seed)
    vae = AutoencoderTiny(
        latent_channels=config.latent_channels,
        encoder_block_out_channels=(config.width,) * 3,
        decoder_block_out_channels=(config.width,) * 3,
        num_encoder_blocks=tuple(config.encoder_blocks),
        num_decoder_blocks=tuple(config.decoder_blocks),
        scaling_factor=1.0,
    )
    model = _NormalisedAutoencoder(vae, config.latent_noise).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(_: int) -> Tensor:
        factors = tilings.sample_factors(config.budget.batch_size, rng)
        images = render(factors, config.image_size, rng).to(device) * 2 - 1
        images = images.to(memory_format=torch.channels_last)
        return _reconstruction_loss(model(images, noise).float(), images, config.edge_weight)

    fit(model, loss, config.budget, "autoencoder")
    return model.folded()


def _reconstruction_loss(output: Tensor, target: Tensor, edge_weight: float) -> Tensor:
    error = output - target
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + error.square().mean() + edge_weight * edges


@torch.no_grad()
def psnr(vae: AutoencoderTiny, config: AutoencoderOptions, n: int = 512, seed: int = 0) -> float:
    """Peak signal-to-noise ratio of reconstructions of fresh tilings, in decibels."""
    rng = np.random.default_rng([seed, 2])
    images = render(tilings.sample_factors(n, rng), config.image_size, rng) * 2 - 1
    device = next(vae.parameters()).device
    output = torch.cat([vae.decode(vae.encode(part.to(device)).latents).sample for part in images.split(64)])
    error = (output.cpu().clamp(-1, 1) - images).square().mean(dim=(1, 2, 3)) / 4
    return float((-10 * error.log10()).mean())
