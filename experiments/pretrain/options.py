"""The options of pre-training, a dataclass a stage."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.run import ProgramOptions, option
from experiments.run.options import Budget
from steer_env.tiles.tilings import Nuisance


@dataclass
class AutoencoderOptions:
    """Architecture and budget of the autoencoder.

    Args:
        image_size: pixels a side, a multiple of 4.
        width: channels of every layer.
        encoder_blocks: residual blocks at each of the three resolutions, finest first.
        decoder_blocks: the same for the decoder, coarsest first.
        latent_channels: channels of the latent.
        latent_noise: standard deviation of the noise that the decoder learns to ignore, in units of the latent's.
        edge_weight: weight of the loss on differences of neighbouring pixels, which keeps outlines sharp.
        budget: how long to train.
    """

    image_size: int = option(48, least=4)
    width: int = option(32, least=1)
    encoder_blocks: tuple[int, ...] = option((1, 2, 2), least=1, length=3)
    decoder_blocks: tuple[int, ...] = option((3, 2, 1), least=1, length=3)
    latent_channels: int = option(8, least=1)
    latent_noise: float = option(0.1, least=0)
    edge_weight: float = option(1.0, least=0)
    budget: Budget = field(default_factory=lambda: Budget(steps=6000, batch_size=32, learning_rate=2e-3))


@dataclass
class DenoiserOptions:
    """Architecture, data and budget of the denoiser.

    Args:
        widths: channels at the two resolutions of the UNet; only the coarser one attends to the text.
        text_width: width of the text encoder and of cross-attention.
        images: number of rendered tilings to learn from; captions are written anew each time.
        nuisance: variation of the tilings; displaced and turned shapes take far longer to learn, and are blobs before.
        budget: how long to train.
    """

    widths: tuple[int, int] = option((64, 128), least=1)
    text_width: int = option(128, least=4)
    images: int = option(40_960, least=1)
    nuisance: Nuisance = field(default_factory=lambda: Nuisance(shift=0.0, angle=0.0, radius=0.0, colour=0.03))
    budget: Budget = field(default_factory=lambda: Budget(steps=24_000, batch_size=32, ema_decay=0.999))


@dataclass
class StudentOptions:
    """How the teacher's sampling is shortened.

    Args:
        halvings: numbers of steps of the successive students; each learns two steps of its teacher in one.
        guidance_scale: guidance of the first teacher; its student needs none.
        budget: how long each student trains.
    """

    halvings: tuple[int, ...] = option((4, 2), least=1, length=1)
    guidance_scale: float = option(2.0, least=0)
    budget: Budget = field(default_factory=lambda: Budget(steps=450, learning_rate=3e-4, ema_decay=0.995))


@dataclass
class PerceptualOptions:
    """Data and budget of the perceptual encoder.

    Args:
        margin: of the hinge loss, on the difference of cosine distances.
        least_gap: between the distances of a trial's two alternatives; trials that are nearer to a tie are left out.
        generated_share: share of training trials whose pictures come from the generator.
        generated_images: pictures made by the generator for that.
        budget: how long to train; an example is a trial of three pictures.
    """

    margin: float = option(0.1, least=0)
    least_gap: float = option(0.2, least=0)
    generated_share: float = option(0.5, least=0, most=1)
    generated_images: int = option(12_288, least=3)
    budget: Budget = field(default_factory=lambda: Budget(steps=2500, batch_size=96, ema_decay=0.998))


@dataclass
class PretrainOptions(ProgramOptions):
    """Make the embedded generator and metric again.

    Args:
        seed: of every random draw.
        device: where to train.
        work: folder for what the stages hand on; a finished stage isn't run again.
        assets: folder that receives ``tiles-generator`` and ``tiles-metric``.
        autoencoder, denoiser, student, perceptual: the stages.
        encoder_widths: channels of the perceptual encoder.
        held_out_captions: how many pictures of captions are read, to see whether they show what the caption says.
        held_out_trials: of each kind, for the encoder and its rivals.
    """

    seed: int = option(0, least=0)
    device: str = "cpu"
    work: str = "outputs/pretrain"
    assets: str = "outputs/pretrain/assets"
    autoencoder: AutoencoderOptions = field(default_factory=AutoencoderOptions)
    denoiser: DenoiserOptions = field(default_factory=DenoiserOptions)
    student: StudentOptions = field(default_factory=StudentOptions)
    perceptual: PerceptualOptions = field(default_factory=PerceptualOptions)
    encoder_widths: tuple[int, ...] = option((32, 64, 96, 128), least=1, length=1)
    held_out_captions: int = option(2000, least=1)
    held_out_trials: int = option(3000, least=1)
