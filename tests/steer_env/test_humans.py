import torch

from steer_env.humans import HUMANS, GreedyHuman
from steer_env.testing import check_human


def test_conformance() -> None:
    for human in HUMANS.values():
        check_human(human)


def test_greedy_takes_the_most_similar_and_stays_on_a_tie() -> None:
    similarities = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    choices = GreedyHuman().choose(similarities, torch.zeros(1000, 4))
    assert torch.equal(choices, similarities.argmax(dim=1))
    assert GreedyHuman().choose(torch.full((1, 4), 0.3), torch.zeros(1, 4)).tolist() == [0]
