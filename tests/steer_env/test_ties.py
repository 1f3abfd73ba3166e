"""One rule decides between values that are equal but for rounding, wherever they are compared."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from steer_env.humans.choosers import GreedyHuman, HesitantHuman
from steer_env.humans.settings import WinStay
from steer_env.ties import TIE, first_best, first_best_of

ROUNDING = 6e-7


@pytest.mark.parametrize("n", [2, 3, 7])
def test_rounding_does_not_decide(n: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((200, n))
    twins = np.concatenate([values, values + rng.uniform(-ROUNDING, ROUNDING, values.shape)], axis=1)
    assert np.array_equal(first_best(twins), values.argmax(axis=1))
    assert np.array_equal(first_best_of(torch.from_numpy(twins)).numpy(), first_best(twins))


def test_what_is_better_by_more_than_a_tie_wins() -> None:
    assert first_best(np.array([[0.5, 0.5 + 2 * TIE]])).tolist() == [1]


@pytest.mark.parametrize("off", [-ROUNDING, 0.0, ROUNDING])
def test_users_go_by_it(off: float) -> None:
    """A proposal that shows the current image again, made in a batch of another size."""
    similarities = torch.tensor([[0.5, 0.5 + off, 0.4]])
    draws, persons = torch.zeros(1, 3), torch.zeros(1)
    assert GreedyHuman().choose(similarities, draws, persons).tolist() == [0]
    assert HesitantHuman(0.0).choose(similarities, draws, persons).tolist() == [0]
    user = WinStay(Discrete(1, start=-1), curiosity=0)
    user.start([0])
    assert user.choose([[7, 8]], np.array([[0.5, 0.5 + off]])) == [7]
