"""The examples run, each in a small setting."""

from pathlib import Path

import numpy as np
import pytest
import torch

from examples.evaluate_your_policy import SmallAfterStaying
from examples.train_with_gymnasium import train
from examples.your_generator import Blots
from examples.your_generator import improvement as improvement_of_blots
from examples.your_mechanism import AntitheticMixture, improvement
from examples.your_network_policy import collect, export, fit
from steer_env import evaluate
from steer_env.testing import check_generator, check_mechanism, check_policy


def test_training_with_gymnasium_gives_a_scale_for_each_round() -> None:
    scales = train(batches=2, environments=2)
    assert scales.shape == (4,)
    assert set(np.round(10 * scales)) <= set(range(1, 11))


def test_a_policy_of_ones_own_stands_in_the_report() -> None:
    check_policy(SmallAfterStaying)
    table = evaluate([SmallAfterStaying(), "best-known"], tasks=2).table()
    assert set(table["policy"]) == {"small after staying", "best known"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_of_ones_own_is_trained_exported_and_ranked(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason='needs pip install "steer-env[onnx]"')
    played = collect(episodes=4, environments=4)
    export(fit(played, steps=3)).save(tmp_path)
    table = evaluate([tmp_path, "best-known"], tasks=2).table()
    assert set(table["policy"]) == {"your network", "best known"}


def test_a_generator_of_ones_own_is_a_good_one_and_can_be_steered() -> None:
    check_generator(Blots())
    assert improvement_of_blots(episodes=16) > 0.05


def test_a_mechanism_of_ones_own_is_a_good_one_and_plays() -> None:
    check_mechanism(AntitheticMixture())
    assert improvement(AntitheticMixture(), episodes=2) != improvement("mixture", episodes=2)


@pytest.mark.parametrize("proposals", [1, 2, 3, 4])
def test_antithetic_pairs_mirror_each_other_about_the_current_latent(proposals: int) -> None:
    latents, noise = torch.randn(2, 3), torch.randn(2, proposals, 3)
    offered = AntitheticMixture().propose(latents, torch.tensor([0.5, 0.5]), noise, history=None)
    centre = 0.5 * latents / 0.5**0.5
    for first in range(0, proposals - 1, 2):
        torch.testing.assert_close(offered[:, first] + offered[:, first + 1], 2 * centre)
