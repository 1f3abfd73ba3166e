"""Resizing against Pillow itself."""

import numpy as np
import pytest
import torch
from PIL import Image

from steer_env.metrics.checkpoints import resize


def eight_bits(kind: str, height: int, width: int) -> torch.Tensor:
    """A picture (3, height, width): smooth, noise, or noise of black and white, where bicubic overshoots."""
    rng = torch.Generator().manual_seed(0)
    if kind == "smooth":
        coarse = torch.rand(1, 3, 8, 8, generator=rng)
        found = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    else:
        found = torch.rand(3, height, width, generator=rng)
    return ((found > 0.5).float() if kind == "binary" else found.clamp(0, 1)).mul(255).round().byte()


@pytest.mark.parametrize("kind", ["smooth", "noise", "binary"])
@pytest.mark.parametrize("size", [(48, 48), (512, 512), (500, 333), (30, 700)])
def test_it_is_what_pillow_does(kind: str, size: tuple[int, int]) -> None:
    picture = eight_bits(kind, *size)
    expected = np.asarray(
        Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    )
    found = resize(picture[None] / 255, (224, 224))[0].mul(255).permute(1, 2, 0).numpy()
    gap = np.abs(found - expected)
    assert gap.max() <= 2.01
    assert gap.mean() < 0.02


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    images = torch.rand(2, 3, 32, 32)
    assert resize(images, (32, 32)) is images
