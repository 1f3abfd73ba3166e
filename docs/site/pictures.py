"""Pictures of the site's generated pages: what the embedded parts do, on one task of the test suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from docs.site.pages import DRAWN

TASK = {"task_index": 3, "episode_seed": 5}


def draw(folder: Path) -> None:
    """PNG files, each made once: an episode of each mechanism, and images of the generator."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in DRAWN:
        if not (path := folder / f"{name}.png").exists():
            _save(path, _episode(name))
    if not (path := folder / "tiles.png").exists():
        _save(path, _samples())
    (folder / "ImageSteering-v0.png").write_bytes((folder / "mixture.png").read_bytes())


def _episode(mechanism: str) -> np.ndarray:
    """A round a row."""
    import gymnasium as gym

    env: Any = gym.make(
        "steer_env:steer_env/ImageSteering-v0", suite="tiles-test-v1", mechanism=mechanism, render_mode="rgb_array"
    )
    env.reset(options=TASK)
    rows = []
    for bucket in (9, 9, 7, 5):
        env.step(bucket)
        rows.append(env.render())
    return np.concatenate(rows)


def _samples() -> np.ndarray:
    """Four images of each of two prompts."""
    import torch

    from steer_env import load_generator
    from steer_env.proposals import draw_latents

    generator = load_generator("tiles")
    rows = []
    for prompt in ("stars, on a blue background", "circles"):
        latents = draw_latents(range(4), generator.latent_shape)
        images = generator.generate(latents, generator.encode([prompt] * 4))
        rows.append(torch.cat(list(images), dim=2))
    return (torch.cat(rows, dim=1).permute(1, 2, 0).clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)


def _save(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(image).resize((image.shape[1] * 2, image.shape[0] * 2), Image.Resampling.NEAREST).save(path)
