"""Draw a round: goal, current image and proposals side by side, the choice marked."""

from __future__ import annotations

import numpy as np

PANEL = 144
"""Least side of a panel, in pixels; smaller images are enlarged by a whole factor."""

_MARGIN = 8
_PAPER = 255
_GOAL_COLOUR = (40, 90, 200)
_CHOICE_COLOUR = (20, 150, 60)


def frame(goal: np.ndarray, shown: np.ndarray | None, current: np.ndarray, choice: int, proposals: int) -> np.ndarray:
    """One picture of a round.

    Args:
        goal: uint8 (3, H, W), framed in blue.
        shown: uint8 (1 + K, 3, H, W), the images of the last round; None before the first.
        current: uint8 (3, H, W), shown with empty proposals before the first round.
        choice: index into ``shown``, framed in green.
        proposals: K.

    Returns:
        uint8 (H', W', 3), of the same size in every round.
    """
    images = list(current[None] if shown is None else shown)
    panels = [_panel(goal, _GOAL_COLOUR)]
    panels += [_panel(image, _CHOICE_COLOUR if i == choice else None) for i, image in enumerate(images)]
    blank = np.full_like(panels[0], _PAPER)
    panels += [blank] * (2 + proposals - len(panels))
    # The goal stands a little apart from what the user can choose.
    gap = np.full((panels[0].shape[0], 2 * _MARGIN, 3), _PAPER, dtype=np.uint8)
    return np.concatenate([panels[0], gap, *panels[1:]], axis=1)


def _panel(image: np.ndarray, colour: tuple[int, int, int] | None) -> np.ndarray:
    factor = max(1, -(-PANEL // image.shape[-1]))
    picture = image.transpose(1, 2, 0).repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = picture.shape[:2]
    panel = np.full((height + 2 * _MARGIN, width + 2 * _MARGIN, 3), _PAPER, dtype=np.uint8)
    if colour is not None:
        panel[_MARGIN // 2 : -_MARGIN // 2, _MARGIN // 2 : -_MARGIN // 2] = colour
    panel[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = picture
    return panel
