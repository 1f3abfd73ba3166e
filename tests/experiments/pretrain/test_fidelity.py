import numpy as np
import torch

from experiments.pretrain.fidelity import readings
from steer_env.generators import load_generator
from steer_env.proposals import draw_latents
from steer_env.tiles import tilings
from steer_env.tiles.renderer import render
from steer_env.tiles.tilings import Nuisance


def drawn(factors: np.ndarray) -> torch.Tensor:
    return render(factors, 48, np.random.default_rng(1), Nuisance(shift=0, angle=0, radius=0.03, colour=0.02))


def test_drawings_are_read_rightly() -> None:
    factors = tilings.sample_factors(200, np.random.default_rng(0))
    found = readings(drawn(factors), factors)
    assert all(right.mean() > 0.98 for right in found.values())
    assert len(found["rotation"]) == np.isin(factors[:, tilings.SHAPE], (1, 2, 3, 4)).sum(), (
        "circles and rings look alike"
    )


def test_another_shape_than_captioned_is_noticed_and_the_rest_still_read() -> None:
    factors = tilings.sample_factors(200, np.random.default_rng(0))
    factors = factors[factors[:, tilings.SHAPE] == tilings.SHAPES.index("circle")]
    squares = factors.copy()
    squares[:, tilings.SHAPE] = tilings.SHAPES.index("square")
    found = readings(drawn(squares), factors)
    assert not found["shape"].any()
    assert found["border"].all()


def test_the_embedded_generator_shows_what_its_captions_say() -> None:
    generator = load_generator("tiles")
    factors = tilings.sample_factors(192, np.random.default_rng(2))
    latents = draw_latents(list(range(len(factors))), generator.latent_shape)
    images = generator.generate(latents, generator.encode([tilings.full_caption(row) for row in factors]))
    found = readings(images, factors)
    assert min(found[name].mean() for name in ("count", "size", "colour", "alternate", "background", "border")) > 0.9
    assert found["shape"].mean() > 0.85
