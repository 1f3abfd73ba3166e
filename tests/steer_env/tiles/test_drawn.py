import numpy as np
import pytest
import torch

from steer_env.tiles import tilings
from steer_env.tiles.drawn import DrawnTiles
from steer_env.tiles.renderer import render
from steer_env.tiles.tilings import Nuisance

SHAPES = ((3, 48, 48), (4, 6, 6))


def test_it_draws_what_a_full_caption_names_and_the_latent_settles_the_rest() -> None:
    generator = DrawnTiles(*SHAPES)
    factors = tilings.sample_factors(32, np.random.default_rng(0))
    prompts = [tilings.full_caption(row) for row in factors]
    latents = torch.randn(32, *SHAPES[1], generator=torch.Generator().manual_seed(0))
    images = generator.generate(latents, generator.encode(prompts))
    clean = render(factors, 48, np.random.default_rng(0), Nuisance(0, 0, 0, 0))
    distances = torch.cdist(images.flatten(1), clean.flatten(1))
    assert (distances.argmin(dim=1) == torch.arange(32)).float().mean() > 0.9
    one = generator.generate(latents[5:6], generator.encode(prompts[5:6]))
    assert torch.equal(one[0], images[5])
    other = generator.generate(-latents[5:6], generator.encode(prompts[5:6]))
    assert not torch.equal(one, other)


def test_an_open_caption_cant_be_drawn() -> None:
    with pytest.raises(ValueError, match="only full captions can be drawn, 'red star' leaves"):
        DrawnTiles(*SHAPES).encode(["red star"])
