"""A pre-training that takes seconds: every stage of the real one, at a size that learns nothing."""

from __future__ import annotations

from pathlib import Path

from experiments.pretrain.options import (
    AutoencoderOptions,
    Budget,
    DenoiserOptions,
    PerceptualOptions,
    PretrainOptions,
    StudentOptions,
)


def miniature(folder: Path, seed: int = 0) -> PretrainOptions:
    """Two steps of everything, on pictures of 16 pixels."""

    def budget() -> Budget:
        return Budget(steps=2, batch_size=4, ema_decay=0.5)

    return PretrainOptions(
        seed=seed,
        work=str(folder / "work"),
        assets=str(folder / "assets"),
        autoencoder=AutoencoderOptions(
            image_size=16,
            width=8,
            encoder_blocks=(1, 1, 1),
            decoder_blocks=(1, 1, 1),
            latent_channels=4,
            budget=budget(),
        ),
        denoiser=DenoiserOptions(widths=(16, 32), text_width=16, images=64, budget=budget()),
        student=StudentOptions(budget=budget()),
        perceptual=PerceptualOptions(generated_images=48, budget=budget()),
        encoder_widths=(8, 16),
        held_out_captions=20,
        held_out_trials=30,
    )
