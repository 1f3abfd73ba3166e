import numpy as np
import pytest
import torch

from examples.own_mechanism import AntitheticMixture, improvement
from steer_env.testing import check_mechanism
from steer_env.types import SteeringHistory


def test_it_is_a_good_mechanism_and_plays() -> None:
    check_mechanism(AntitheticMixture())
    assert improvement(AntitheticMixture(), episodes=2) != improvement("mixture", episodes=2)


@pytest.mark.parametrize("proposals", [1, 2, 3, 4])
def test_antithetic_pairs_mirror_each_other_about_the_current_latent(proposals: int) -> None:
    latents, noise = torch.randn(2, 3), torch.randn(2, proposals, 3)
    start = np.zeros(2, dtype=int)
    history = SteeringHistory(np.arange(2), start, [0, 1], {}, torch.zeros(2, 4, proposals, 3), torch.zeros(2, 4))
    offered = AntitheticMixture().propose(latents, torch.tensor([0.5, 0.5]), noise, history)
    centre = 0.5 * latents / 0.5**0.5
    for first in range(0, proposals - 1, 2):
        torch.testing.assert_close(offered[:, first] + offered[:, first + 1], 2 * centre)
