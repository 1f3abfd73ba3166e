import numpy as np
import pytest
import torch

from steer_env.tiles import tilings
from steer_env.tiles.renderer import render
from steer_env.tiles.tilings import Nuisance

STILL = Nuisance(shift=0, angle=0, radius=0, colour=0)


def tiling(**factors: int) -> np.ndarray:
    row = np.zeros((1, len(tilings.FACTORS)), dtype=np.int64)
    row[0, [tilings.ALTERNATE, tilings.BORDER]] = tilings.NONE
    row[0, tilings.BACKGROUND] = tilings.COLOURS.index("white")
    for name, value in factors.items():
        row[0, tilings.FACTORS.index(name)] = value
    return row


def draw(factors: np.ndarray, size: int = 96) -> torch.Tensor:
    return render(factors, size, np.random.default_rng(0), STILL)[0]


def inked(image: torch.Tensor) -> float:
    """Share of the picture that isn't background."""
    background = torch.from_numpy(tilings.RGB[tilings.COLOURS.index("white")])[:, None, None]
    full = torch.from_numpy(tilings.RGB[tilings.COLOURS.index("red")])[:, None, None]
    return float(((image - background).norm(dim=0) / (full - background).norm()).mean())


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", np.pi * 0.92**2),
        ("square", (2 * 0.78) ** 2),
        ("ring", np.pi * (0.92**2 - 0.44**2)),
        ("cross", 4 * 0.95 * 0.30 * 2 - (2 * 0.30) ** 2),
        ("triangle", 3 * 3**0.5 * 0.56**2),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_shapes_cover_the_area_of_their_closed_form(shape: str, area: float, count: int) -> None:
    factors = tiling(shape=tilings.SHAPES.index(shape), count=count, size=1)
    assert inked(draw(factors)) == pytest.approx(area * 0.7**2 / 4, rel=0.02)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_number_of_shapes_is_the_number_of_pieces(count: int) -> None:
    ink = draw(tiling(count=count, size=1))[1] < 0.5
    edges = (ink[:, 1:] != ink[:, :-1]).sum(dim=1).max()
    assert int(edges) == 2 * (count + 1)


def test_border_and_alternation_have_their_colours() -> None:
    blue, green = tilings.COLOURS.index("blue"), tilings.COLOURS.index("green")
    image = draw(tiling(count=1, size=1, border=blue, alternate=green))
    torch.testing.assert_close(image[:, 1, 1], torch.from_numpy(tilings.RGB[blue]), atol=1e-5, rtol=0)
    torch.testing.assert_close(image[:, 28, 28], torch.from_numpy(tilings.RGB[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(image[:, 28, 68], torch.from_numpy(tilings.RGB[green]), atol=1e-5, rtol=0)


def test_pictures_of_one_tiling_differ_by_their_nuisance_alone() -> None:
    factors = np.repeat(tiling(count=1), 2, axis=0)
    one, other = render(factors, 48, np.random.default_rng(0))
    assert (one - other).abs().max() > 0.05
    again = render(factors, 48, np.random.default_rng(0))[0]
    assert torch.equal(one, again)
    assert 0 <= float(one.min()) <= float(one.max()) <= 1
