"""Resizing on the device as Pillow does it in memory."""

from __future__ import annotations

from torch import Tensor, nn


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pillow's bicubic resizing of the same pictures in eight bits; single values are off by 1/255 or 2/255.

    Pillow filters the width, then the height, and rounds and clips to eight bits after each, and so does this.
    Filtering both at once would be off by up to 18/255 where bicubic overshoots.

    Args:
        images: float (B, C, H, W) in [0, 1].
        size: height and width wanted.

    Returns:
        float (B, C, *size), in 256 steps of [0, 1]; the images as they are if they have that size.
    """
    for step in ((images.shape[2], size[1]), size):
        if step != tuple(images.shape[2:]):
            filtered = nn.functional.interpolate(images, step, mode="bicubic", antialias=True)
            images = (filtered * 255 + 0.5).floor().clamp(0, 255) / 255
    return images
