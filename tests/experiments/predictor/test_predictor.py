"""The command that makes the predictor, in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.predictor.__main__ import PredictorOptions
from experiments.predictor.making import figures, make_predictor, make_shard
from experiments.run.options import Budget
from steer_env import assets
from steer_env.generators import load_generator
from steer_env.mechanisms.predicted import EmbeddingPredictor
from steer_env.metrics import load_metric


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PredictorOptions, dict[str, float]]:
    folder = tmp_path_factory.mktemp("predictor")
    budget = Budget(steps=30, batch_size=64, learning_rate=2e-3, ema_decay=0.8)
    config = PredictorOptions(
        shards=3, prompts=16, held_out=8, work=str(folder / "work"), assets=str(folder / "assets"), budget=budget
    )
    return config, make_predictor(config)


def test_it_leaves_a_whole_asset_with_a_card(made: tuple[PredictorOptions, dict[str, float]]) -> None:
    config, known = made
    folder = Path(config.assets) / "tiles-predictor"
    predictor = EmbeddingPredictor.load(folder)
    assert predictor.config.generator == load_generator("tiles").id
    assert predictor.config.metric == load_metric("tile-perceptual").id
    assert 0.5 < predictor.config.share < 0.8  # The mean of what was counted by hand: two thirds of a pass.
    card = (folder / "README.md").read_text()
    assert "python -m experiments.predictor" in card
    assert f"{known['correlation']:.3f}" in card
    assert assets.verified(folder)


def test_a_little_training_already_tells_images_of_a_prompt_apart(
    made: tuple[PredictorOptions, dict[str, float]],
) -> None:
    _, known = made
    assert known["correlation"] > 0.2
    assert known["length"] < 1.01


def test_pairs_are_made_once_and_are_those_of_the_generator(made: tuple[PredictorOptions, dict[str, float]]) -> None:
    config, known = made
    before = {path: path.stat().st_mtime_ns for path in Path(config.work).glob("*.npy")}
    assert len(before) == 2 * 3
    again = make_predictor(config)
    assert {path: path.stat().st_mtime_ns for path in Path(config.work).glob("*.npy")} == before
    assert again["correlation"] == pytest.approx(known["correlation"], abs=1e-6)
    generator, metric = load_generator("tiles"), load_metric("tile-perceptual")
    shard = make_shard(config, 0, generator, metric)  # type: ignore[arg-type]
    assert shard.activations.shape[:1] == shard.embeddings.shape[:1] == (16 * 8,)
    _, embeddings = shard.rows(slice(None))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(16 * 8), atol=1e-2, rtol=0)


def test_figures_of_a_predictor_that_knows_are_those_of_certainty(
    made: tuple[PredictorOptions, dict[str, float]],
) -> None:
    config, _ = made
    shard = make_shard(config, 0, load_generator("tiles"), load_metric("tile-perceptual"))  # type: ignore[arg-type]
    truth = torch.from_numpy(np.array(shard.embeddings)).float()

    class Knows(torch.nn.Module):
        def forward(self, activations: torch.Tensor) -> torch.Tensor:
            return truth[: len(activations)]

    certain = figures(Knows(), shard)  # type: ignore[arg-type]
    assert certain == pytest.approx({"cosine": 1, "length": 1, "correlation": 1}, abs=1e-3)
