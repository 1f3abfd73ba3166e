import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from torch import Tensor, nn

from experiments.pretrain.autoencoder import _NormalisedAutoencoder, train_autoencoder
from experiments.pretrain.cards import write_cards
from experiments.pretrain.options import AutoencoderOptions, Budget, PretrainOptions
from experiments.pretrain.stages import pretrain
from experiments.run.fitting import fit
from steer_env import assets
from steer_env.generators.stable_diffusion import StableDiffusionGenerator
from steer_env.testing import check_generator, check_metric
from steer_env.tiles import tilings
from steer_env.tiles.metric import TilePerceptualMetric
from steer_env.tiles.renderer import render
from tests.experiments.pretrain.miniature import miniature


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PretrainOptions, dict[str, float]]:
    config = miniature(tmp_path_factory.mktemp("pretrain"))
    figures = pretrain(config)
    write_cards(config, figures)
    return config, figures


def weights(config: PretrainOptions) -> dict[str, str]:
    """Hashes of all weights, by file."""
    found = {}
    for name in ("tiles-generator", "tiles-metric"):
        manifest = json.loads((Path(config.assets) / name / "manifest.json").read_text())
        found |= {f"{name}/{file}": digest for file, digest in manifest.items() if file.endswith(".safetensors")}
    return found


def test_the_assets_are_whole(made: tuple[PretrainOptions, dict[str, float]]) -> None:
    folder = Path(made[0].assets)
    for name in ("tiles-generator", "tiles-metric"):
        assert assets.verified(folder / name)
        assert "python -m experiments.pretrain" in (folder / name / "README.md").read_text()
    assert (folder / "tiles-generator" / "samples.png").is_file()


def test_diffusers_itself_loads_and_runs_the_folder(made: tuple[PretrainOptions, dict[str, float]]) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        Path(made[0].assets) / "tiles-generator", safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    (image,) = pipeline("four red stars", num_inference_steps=2, guidance_scale=1.0).images
    assert image.size == (16, 16)


def test_generator_and_metric_conform(made: tuple[PretrainOptions, dict[str, float]]) -> None:
    folder = Path(made[0].assets)
    check_generator(StableDiffusionGenerator(str(folder / "tiles-generator"), 2, 1.0), ("a ring", "a star", ""))
    rng = np.random.default_rng(0)
    images = render(tilings.sample_factors(4, rng), 16, rng)
    check_metric(TilePerceptualMetric.load(folder / "tiles-metric"), images)


def test_the_same_seed_makes_the_same_weights(made: tuple[PretrainOptions, dict[str, float]], tmp_path: Path) -> None:
    again = miniature(tmp_path / "again")
    figures = pretrain(again)
    assert weights(again) == weights(made[0])
    assert figures == made[1]
    other = miniature(tmp_path / "other", seed=1)
    pretrain(other)
    assert not set(weights(other).values()) & set(weights(made[0]).values())


def test_finished_stages_are_not_run_again(
    made: tuple[PretrainOptions, dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("a finished stage ran again")

    for stage in ("train_autoencoder", "train_denoiser", "distil"):
        monkeypatch.setattr(f"experiments.pretrain.stages.{stage}", never)
    monkeypatch.setattr("experiments.pretrain.perceptual.train_encoder", never)
    assert pretrain(replace(made[0], assets=str(tmp_path))) == made[1]


def test_a_work_folder_of_another_configuration_is_refused(made: tuple[PretrainOptions, dict[str, float]]) -> None:
    with pytest.raises(FileExistsError, match="holds stages made with other seed: choose another work="):
        pretrain(replace(made[0], seed=1))


def test_the_autoencoder_learns() -> None:
    budget = Budget(steps=300, batch_size=16, learning_rate=4e-3, ema_decay=0.9)
    config = AutoencoderOptions(24, 16, (1, 1, 1), (1, 1, 1), latent_channels=8, budget=budget)
    vae = train_autoencoder(config, seed=0)
    rng = np.random.default_rng(5)
    images = render(tilings.sample_factors(256, rng), 24, rng) * 2 - 1
    with torch.no_grad():
        error = float((vae.decode(vae.encode(images).latents).sample - images).square().mean())
    assert error < 0.7 * float((images - images.mean(dim=0)).square().mean()), "the mean picture is a poor guess"


def test_folding_the_normalisation_into_the_encoder_changes_nothing() -> None:
    torch.manual_seed(0)
    vae = AutoencoderTiny(
        latent_channels=4,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    model = _NormalisedAutoencoder(vae, noise=0.1)
    images = torch.rand(64, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        for _ in range(50):
            model.norm(vae.encoder(images))
        expected = model.eval().norm(vae.encoder(images))
        found = model.folded().encode(images).latents
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    layer = nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="toy: the loss is nan at step 0; lower learning_rate"):
        fit(layer, lambda _: layer(torch.ones(1)).sum() * torch.nan, Budget(steps=3), "toy")


def test_the_averaged_weights_are_returned() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 5.0)
    fit(layer, lambda _: layer.weight.square().sum(), Budget(steps=300, learning_rate=0.1, ema_decay=0.9), "toy")
    assert abs(float(layer.weight.detach())) < 0.5


def test_a_training_that_was_cut_off_goes_on_from_its_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.run.fitting.SNAPSHOT_EVERY", 2)
    snapshot, budget = tmp_path / "toy.pt", Budget(steps=7, learning_rate=0.1, ema_decay=0.5)

    def train(fails_at: int | None = None) -> tuple[Tensor, list[int]]:
        torch.manual_seed(0)
        layer, steps = nn.Linear(3, 1), []

        def loss(step: int) -> Tensor:
            if step == fails_at:
                raise KeyboardInterrupt
            steps.append(step)
            return layer(torch.from_numpy(np.random.default_rng(step).standard_normal(3, np.float32))).square().sum()

        fit(layer, loss, budget, "toy", snapshot)
        return layer.weight.detach(), steps

    uninterrupted, _ = train()
    with pytest.raises(KeyboardInterrupt):
        train(fails_at=5)
    resumed, steps = train()
    assert steps == [4, 5, 6]
    assert torch.equal(resumed, uninterrupted)
    assert not list(tmp_path.iterdir())
