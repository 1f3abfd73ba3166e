"""The stages of pre-training, in order, each skipped where its result already lies in the work folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel

from experiments.pretrain import perceptual
from experiments.pretrain.autoencoder import psnr, train_autoencoder
from experiments.pretrain.denoiser import Denoiser, TileLatents, build_scheduler, distil, train_denoiser
from experiments.pretrain.fidelity import readings
from experiments.pretrain.options import PerceptualOptions, PretrainOptions
from experiments.pretrain.perceptual import TrialSource, accuracy
from experiments.pretrain.text import build_tokenizer
from steer_env import assets
from steer_env.compatibility import quiet
from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.proposals import draw_latents
from steer_env.tiles import tilings
from steer_env.tiles.metric import EncoderConfig, TileEncoder, TilePerceptualMetric


def pretrain(config: PretrainOptions) -> dict[str, float]:
    """Run all stages; returns the figures that the cards quote. Stages of another configuration are refused."""
    work, target = Path(config.work), Path(config.assets)
    _claim(work, config)
    vae = _autoencoder(config, work / "vae")
    student = _denoisers(config, vae, work)
    generator_folder, metric_folder = target / "tiles-generator", target / "tiles-metric"
    save_generator(student, vae, generator_folder)
    figures = {"autoencoder_psnr_db": psnr(vae, config.autoencoder)}
    picture = painter(config)
    figures |= _fidelity(config, picture)
    figures |= _metric(config, picture, metric_folder)
    for folder in (generator_folder, metric_folder):
        assets.write_manifest(folder)
    (work / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def _claim(work: Path, config: PretrainOptions) -> None:
    """Record the configuration of a work folder's stages, or refuse a different one."""
    aside = ("work", "assets", "held_out_captions", "held_out_trials", "threads")
    settings = json.loads(json.dumps({name: value for name, value in asdict(config).items() if name not in aside}))
    record = work / "config.json"
    if record.is_file():
        different = sorted(name for name, value in json.loads(record.read_text()).items() if settings[name] != value)
        if different:
            raise FileExistsError(f"{work} holds stages made with other {', '.join(different)}: choose another work=")
    work.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(settings, indent=2) + "\n")


def _autoencoder(config: PretrainOptions, folder: Path) -> AutoencoderTiny:
    if not (folder / "config.json").is_file():
        train_autoencoder(config.autoencoder, config.seed, config.device).save_pretrained(folder)
    return AutoencoderTiny.from_pretrained(folder).to(config.device).eval()


def _denoisers(config: PretrainOptions, vae: AutoencoderTiny, work: Path) -> Denoiser:
    if (work / "student" / "unet").is_dir():
        return load_denoiser(work / "student", config.device)
    rng = np.random.default_rng([config.seed, 4])
    data = TileLatents.encode(vae, config.denoiser.images, config.autoencoder.image_size, config.denoiser.nuisance, rng)
    if not (work / "teacher" / "unet").is_dir():
        snapshot = work / "teacher.snapshot.pt"
        save_denoiser(train_denoiser(config.denoiser, data, config.seed, config.device, snapshot), work / "teacher")
    teacher = load_denoiser(work / "teacher", config.device)
    save_denoiser(distil(config.student, teacher, data, config.seed), work / "student")
    return load_denoiser(work / "student", config.device)


def save_denoiser(model: Denoiser, folder: Path) -> None:
    """Write text encoder and UNet; the UNet last, since its folder says that the stage is finished."""
    model.text_encoder.save_pretrained(folder / "text_encoder")
    model.unet.save_pretrained(folder / "unet.partial")
    (folder / "unet.partial").rename(folder / "unet")


def load_denoiser(folder: Path, device: str) -> Denoiser:
    """Read what :func:`save_denoiser` wrote."""
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    return Denoiser(text_encoder, UNet2DConditionModel.from_pretrained(folder / "unet")).to(device).eval()


def save_generator(model: Denoiser, vae: AutoencoderTiny, folder: Path) -> None:
    """Write the folder that ``StableDiffusionPipeline.from_pretrained`` reads, in float16."""
    if folder.exists():
        shutil.rmtree(folder)
    with quiet():
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=vae,
            text_encoder=model.text_encoder,
            tokenizer=build_tokenizer(),
            unet=model.unet,
            scheduler=build_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.to(torch.float16).save_pretrained(folder)
        pipeline.to(torch.float32)
    vae_config, text_config = folder / "vae" / "config.json", folder / "text_encoder" / "config.json"
    # diffusers writes a derived value, and remarks on it at every load.
    settings = json.loads(vae_config.read_text())
    del settings["block_out_channels"]
    vae_config.write_text(json.dumps(settings, indent=2) + "\n")
    # transformers would load float16 where diffusers loads float32, and the two parts wouldn't fit together.
    text_config.write_text(json.dumps(json.loads(text_config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def painter(config: PretrainOptions) -> perceptual.Picture:
    """The saved generator as a function from captions and seeds to images."""
    folder, steps = Path(config.assets) / "tiles-generator", config.student.halvings[-1]
    generator = StableDiffusionGenerator(str(folder), steps, guidance_scale=1.0, device=config.device)

    def picture(captions: list[str], seeds: list[int]) -> Tensor:
        latents = draw_latents(seeds, generator.latent_shape).to(generator.device)
        return generator.generate(latents, generator.encode(captions)).cpu()

    return picture


def _fidelity(config: PretrainOptions, picture: perceptual.Picture) -> dict[str, float]:
    """How often each factor that a full caption names can be read off the picture."""
    rng = np.random.default_rng([config.seed, 7])
    factors = tilings.sample_factors(config.held_out_captions, rng)
    seeds = rng.integers(2**31, size=len(factors)).tolist()
    captions = [tilings.full_caption(row) for row in factors]
    right = readings(picture(captions, seeds), factors)
    return {f"{name}_read": float(values.mean()) for name, values in right.items()}


def _metric(config: PretrainOptions, picture: perceptual.Picture, folder: Path) -> dict[str, float]:
    """Train the perceptual encoder, and compare it with its rivals on the same held-out trials."""
    size, architecture = config.autoencoder.image_size, EncoderConfig(tuple(config.encoder_widths))
    weights = Path(config.work) / "perceptual.safetensors"
    if weights.is_file():
        encoder = TileEncoder(architecture).to(config.device).eval()
        encoder.load_state_dict(load_file(weights))
    else:
        source = TrialSource(config.perceptual, size, np.random.default_rng([config.seed, 5]), picture)
        encoder = perceptual.train_encoder(config.perceptual, architecture, source, config.seed, config.device)
        save_file(encoder.state_dict(), weights)
    TilePerceptualMetric(encoder).save(folder)
    options = PerceptualOptions(generated_images=3 * config.held_out_trials)
    held_out = TrialSource(options, size, np.random.default_rng([config.seed, 6]), picture)
    torch.manual_seed(config.seed + 1)
    rivals = {
        "encoder": perceptual.embedded_cosine(encoder),
        "untrained": perceptual.embedded_cosine(TileEncoder(architecture).to(config.device).eval()),
        "mse": perceptual.negative_mse,
        "ssim": perceptual.ssim,
    }
    trials = {"rendered": held_out.rendered(config.held_out_trials), "generated": held_out.generated()}
    return {
        f"{name}_accuracy_{kind}": accuracy(rival, held_out_trials)
        for kind, held_out_trials in trials.items()
        for name, rival in rivals.items()
    }
