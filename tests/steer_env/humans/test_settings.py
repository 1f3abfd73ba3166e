"""How simulated users set seeds and guidance scales."""

import numpy as np
import pytest
from gymnasium import spaces

from steer_env.humans.settings import WinStay


def played(user: WinStay, tried: list[list[int]], similarities: list[list[float]]) -> list[int]:
    user.start(range(len(tried)))
    return user.choose(tried, np.array(similarities))


def test_a_win_is_kept() -> None:
    user = WinStay(spaces.Discrete(10, start=42), curiosity=1.0)
    assert played(user, [[7, 8, 9]] * 20, [[0.1, 0.2, 0.3]] * 20) == [9] * 20


def test_after_a_loss_users_go_back_or_try_another() -> None:
    tried, similarities = [[1, 2, 3]] * 400, [[0.1, 0.9, 0.5]] * 400
    assert played(WinStay(spaces.Discrete(10, start=42), 0.0), tried, similarities) == [2] * 400
    found = np.array(played(WinStay(spaces.Discrete(10, start=42), 0.5), tried, similarities))
    back = (found == 2).mean()
    assert abs(back - 0.5) < 4 * (0.25 / 400) ** 0.5
    assert set(found[found != 2]) == set(range(42, 52))


def test_guidance_is_drawn_from_its_range() -> None:
    space = spaces.Box(1, 10, (), np.float32)
    found = played(WinStay(space, 1.0), [[1, 2]] * 200, [[0.9, 0.5]] * 200)
    assert all(space.contains(np.array(value, np.float32)) and float(np.float32(value)) == value for value in found)
    assert max(found) - min(found) > 8


def test_an_episode_depends_on_its_own_seed_alone() -> None:
    user = WinStay(spaces.Discrete(1000), 1.0)
    together = played(user, [[1, 2]] * 3, [[0.9, 0.5]] * 3)
    user.start([2])
    assert user.choose([[1, 2]], np.array([[0.9, 0.5]])) == together[2:]


def test_a_curiosity_that_is_no_probability() -> None:
    with pytest.raises(ValueError, match=r"curiosity is a probability, got 1\.5"):
        WinStay(spaces.Discrete(3), 1.5)
