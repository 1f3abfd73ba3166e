"""The terms of Equation 5, where they are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from steer_env.evaluation.decomposition import Episodes, decompose

CENTRES = np.array([[0.0, 0.2, -0.1], [0.5, -0.3, 0.1]])
OFFSETS = (0.1, 0.15)
SLOPES = np.array([[0.1, 0.0, -0.05], [0.05, 0.1, -0.05]])
MECHANISM = OFFSETS[1] - OFFSETS[0] + (SLOPES[1] - SLOPES[0]) @ CENTRES[1]
PRODUCIBLE = SLOPES[0] @ (CENTRES[1] - CENTRES[0])


def episodes(model: int, seed: int, count: int = 150) -> Episodes:
    """Goals from a normal distribution, linear rewards with noise."""
    rng = np.random.default_rng([model, seed])
    features = CENTRES[model] + rng.standard_normal((count, 3))
    rewards = OFFSETS[model] + features @ SLOPES[model] + 0.1 * rng.standard_normal(count)
    return Episodes(features, rewards, np.arange(count))


def test_intervals_cover_the_known_terms() -> None:
    found = [decompose(episodes(0, seed), episodes(1, seed), seed=seed) for seed in range(100)]
    covered = {
        "mechanism": sum(one.mechanism.low <= MECHANISM <= one.mechanism.high for one in found),
        "producible": sum(one.producible.low <= PRODUCIBLE <= one.producible.high for one in found),
    }
    assert min(covered.values()) >= 90, covered


def test_terms_sum_to_the_direct_difference() -> None:
    found = decompose(episodes(0, 0), episodes(1, 0))
    assert found.total.value == pytest.approx(found.direct, abs=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((150, 2))}, "width 3 and 2"),
        ({"rewards": np.full(150, np.nan)}, "finite"),
        ({"rewards": np.zeros(3)}, "3 rewards"),
        ({"tasks": np.zeros(150, dtype=int)}, "1 tasks are too few"),
    ],
)
def test_bad_input_is_named(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompose(episodes(0, 0), replace(episodes(1, 0), **change))
