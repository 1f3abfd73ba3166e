"""Images that are predicted, and the mechanism that offers among them; the network here knows nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from steer_env import assets
from steer_env.assets import AssetError
from steer_env.dynamics import SteeringDynamics
from steer_env.generators import load_generator
from steer_env.humans.choosers import GreedyHuman
from steer_env.imaging.studio import LocalStudio
from steer_env.mechanisms import load_mechanism
from steer_env.mechanisms.predicted import EmbeddingPredictor, FeedbackSteering, LearnedSteering, PredictorConfig
from steer_env.metrics import load_metric
from steer_env.proposals import draw_latents
from steer_env.tasks import load_suite
from steer_env.types import Generator, GlimpsingGenerator, Metric, SteeringHistory
from tests.conftest import CountingGenerator

TASKS = load_suite("tiles-val-v1")[:4]


@pytest.fixture(scope="module")
def predictor(generator: Generator, metric: Metric, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights."""
    assert isinstance(generator, GlimpsingGenerator)
    glimpsed = generator.glimpse(torch.zeros(1, *generator.latent_shape), generator.encode([""]))
    _, channels, height, width = glimpsed.shape
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = PredictorConfig(
            generator.id, metric.id, 0.5, channels, height * width, metric.dimensions, channels=32, width=64
        )
        network = EmbeddingPredictor(config)
        assert isinstance(network.head[-1], nn.Linear)
        nn.init.normal_(network.head[-1].weight)
    folder = tmp_path_factory.mktemp("predictor")
    network.save(folder)
    assets.write_manifest(folder)
    return folder


def test_a_glimpse_is_the_beginning_of_the_first_pass(generator: Generator) -> None:
    """Whatever the batch, and the denoiser goes on as before."""
    assert isinstance(generator, GlimpsingGenerator)
    latents, conditioning = draw_latents([1, 2], generator.latent_shape), generator.encode(["red", "nine blue star"])
    images = generator.generate(latents, conditioning)
    reached: list[torch.Tensor] = []
    unet = generator.pipeline.unet  # type: ignore[attr-defined]
    hook = unet.up_blocks[0].upsamplers[0].register_forward_pre_hook(lambda _, inputs: reached.append(inputs[0]))
    assert torch.equal(generator.generate(latents, conditioning), images)
    hook.remove()
    glimpsed = generator.glimpse(latents, conditioning)
    torch.testing.assert_close(glimpsed, reached[0])
    alone = generator.glimpse(latents[1:], generator.encode(["nine blue star"]))
    torch.testing.assert_close(alone, glimpsed[1:], atol=1e-4, rtol=1e-4)
    assert torch.equal(generator.generate(latents, conditioning), images)


def test_pools_are_predicted_to_the_last_digit_whatever_the_batch(
    predictor: Path, generator: Generator, metric: Metric
) -> None:
    mechanism = load_mechanism(
        {"name": "learned", "pool": 70, "predictor": str(predictor)}, LocalStudio(generator, metric)
    )
    assert isinstance(mechanism, LearnedSteering)
    latents, prompts = draw_latents([1, 2], generator.latent_shape), generator.encode(["red", "blue"])
    drawn, expected = mechanism._imagine(latents, [5, 6], prompts, np.arange(2))
    assert drawn.shape == (2, 70, *generator.latent_shape)
    assert drawn.dtype == torch.float32
    assert expected.shape == (2, 70, metric.dimensions)
    assert expected.dtype == torch.float32
    again, alone = mechanism._imagine(latents[1:], [6], prompts, np.array([1]))
    assert torch.equal(again[0], drawn[1])
    assert torch.equal(alone[0], expected[1])
    assert mechanism.extra_images == 0
    assert mechanism.extra_passes == 35


def test_the_mechanism_makes_no_image_but_those_it_shows(predictor: Path, generator: Generator, metric: Metric) -> None:
    counting = CountingGenerator(generator)
    counting.glimpse = generator.glimpse  # type: ignore[attr-defined]
    mechanism = load_mechanism(
        {"name": "learned", "pool": 40, "predictor": str(predictor)}, LocalStudio(counting, metric)
    )

    def course(tasks: slice) -> np.ndarray:
        n = tasks.stop - tasks.start
        played = SteeringDynamics(LocalStudio(counting, metric), GreedyHuman(), n, mechanism=mechanism)
        counting.latents.clear()
        played.reset(TASKS[tasks], list(range(tasks.start, tasks.stop)))
        choices = np.stack([played.step(np.full(n, 0.5)).choices for _ in range(4)], axis=1)
        assert len(counting.latents) == played.images_made.sum()
        assert (played.images_made <= 10).all()
        assert played.passes_made.tolist() == (played.images_made + 40 * 0.5).tolist()
        return choices

    together = course(slice(0, 3))
    assert np.array_equal(together, np.concatenate([course(slice(i, i + 1)) for i in range(3)]))


def test_it_refuses_what_it_does_not_know(predictor: Path, generator: Generator, metric: Metric) -> None:
    other = CountingGenerator(generator)
    with pytest.raises(ValueError, match="the predictor knows images of"):
        load_mechanism({"name": "learned", "predictor": str(predictor)}, LocalStudio(other, metric))
    with pytest.raises(ValueError, match=r"knows the metric '.*', not 'pixel-correlation'"):
        load_mechanism(
            {"name": "learned", "predictor": str(predictor)}, LocalStudio(generator, load_metric("pixel-correlation"))
        )
    # The same weights with other settings make much the same of a latent.
    assert load_mechanism(
        {"name": "learned", "predictor": str(predictor)}, LocalStudio(load_generator("tiles:steps=1"), metric)
    )


def test_a_damaged_predictor_is_refused(predictor: Path, generator: Generator, metric: Metric, tmp_path: Path) -> None:
    for file in predictor.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(AssetError, match=r"model.safetensors is damaged"):
        load_mechanism({"name": "learned", "predictor": str(tmp_path)}, LocalStudio(generator, metric))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nosuch": 1}, "unknown option of the predictor 'nosuch'"),
        ({"cells": "x"}, "cells must be a whole number, got 'x'"),
        ({"channels": 8}, "size mismatch"),
        ({"share": -1.0}, "its numbers aren't finite or positive"),
        (None, "holds no predictor"),
    ],
)
def test_what_save_doesnt_write_is_no_predictor(
    changes: dict[str, Any] | None, message: str, predictor: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(predictor, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps([] if changes is None else config | changes))
    (folder / "manifest.json").unlink()
    assets.write_manifest(folder)
    with pytest.raises(ValueError, match=message):
        EmbeddingPredictor.load(folder)


def test_weights_that_arent_finite_are_refused(predictor: Path, tmp_path: Path) -> None:
    network = EmbeddingPredictor.load(predictor)
    torch.nn.init.constant_(network.head[-1].weight, torch.nan)  # type: ignore[arg-type]
    network.save(tmp_path)
    assets.write_manifest(tmp_path)
    with pytest.raises(ValueError, match="its numbers aren't finite"):
        EmbeddingPredictor.load(tmp_path)


def test_greedy_feedback_offers_what_is_like_what_was_taken_and_unlike_the_rest(
    predictor: Path, generator: Generator, metric: Metric
) -> None:
    studio = LocalStudio(generator, metric)
    mechanism = load_mechanism({"name": "feedback", "pool": 20, "weight": 0.3, "predictor": str(predictor)}, studio)
    assert isinstance(mechanism, FeedbackSteering)
    histories: list[SteeringHistory] = []
    propose = mechanism.propose
    mechanism.propose = lambda *given: histories.append(given[-1]) or propose(*given)  # type: ignore[method-assign]
    played = SteeringDynamics(studio, GreedyHuman(), 1, mechanism=mechanism)
    played.reset(TASKS[:1], [3])
    pool, offered = None, []
    for turn in range(3):
        played.step(np.array([0.5]))
        pool = mechanism._latents[0].flatten(1)
        latents = played._past_proposals[0, turn].flatten(1)
        offered.append([int((pool == latent).all(dim=1).nonzero()) for latent in latents])
    assert offered[0] == [0, 1]
    screens, choices = histories[-1].embeddings[0], histories[-1].choices[0]
    score = torch.zeros(20)
    for turn in range(2):
        alike = metric.similarity(screens[turn][:, None], mechanism._embeddings[0][None])
        taken = int(choices[turn])
        score += alike[taken] - 0.3 * alike[[i for i in range(3) if i != taken]].mean(dim=0)
    score[offered[0] + offered[1]] = -torch.inf
    assert offered[2] == score.topk(2).indices.tolist()
