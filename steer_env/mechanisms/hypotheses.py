"""Images that the model could make for a user's prompt: candidates to offer, and hypotheses about the goal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from steer_env.proposals import draw_latents
from steer_env.types import Conditioning, Metric, Studio

_STREAM = 0xB001


class Hypotheses:
    """Makes pools of images, and embeds them.

    Args:
        studio: makes the images.
        metrics: embed them.
        kept: how many pools to keep for other mechanisms that share this object and want them of the same episodes.
    """

    def __init__(self, studio: Studio, metrics: Sequence[Metric], kept: int = 0) -> None:
        self._studio, self._kept = studio, kept
        self._metrics = {metric.id: metric for metric in metrics}
        self._names = [studio.name_of(metric) for metric in self._metrics.values()]
        self._known: dict[str, Tensor] = {}

    def make(
        self, latents: Tensor, seeds: Sequence[int], pool: int, conditioning: Conditioning, rows: np.ndarray
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Pools of n episodes.

        Args:
            latents: float (n, *latent_shape), of their first images.
            seeds: n, of the episodes.
            pool: P, images in a pool.
            conditioning: the users' prompts, any number of rows.
            rows: int64 (n,), which of them are the episodes'.

        Returns:
            Latents (n, P, *latent_shape); and by id of each metric unit vectors (n, 1 + P, D), the first image's first.
        """
        streams = [np.random.SeedSequence([seed, _STREAM]).generate_state(pool, np.uint32) for seed in seeds]
        drawn = draw_latents([int(seed) for seed in np.concatenate(streams)], tuple(latents.shape[1:]))
        pools = drawn.to(latents.device).unflatten(0, (len(seeds), pool))
        where = torch.from_numpy(rows).to(latents.device)
        keys = [_key(seed, latents[i], conditioning, int(where[i])) for i, seed in enumerate(seeds)]
        new = [i for i, key in enumerate(keys) if len(self._known.get(key, ())) < 1 + pool]
        if new:
            every = torch.cat([latents[new, None], pools[new]], dim=1).flatten(0, 1)
            shared, place = where[new].repeat_interleave(1 + pool), "pools of hypotheses"
            found, _ = self._studio.picture(every, conditioning, place, shared, metrics=self._names)
            for i, *made in zip(new, *(values.split(1 + pool) for values in found.values()), strict=True):
                self._known[keys[i]] = torch.cat(made, dim=1)
        # A smaller pool is the beginning of a larger one.
        embeddings = torch.stack([self._known[key][: 1 + pool] for key in keys])
        parts = embeddings.split([metric.dimensions for metric in self._metrics.values()], dim=2)
        while len(self._known) > self._kept:
            del self._known[next(iter(self._known))]
        return pools, dict(zip(self._metrics, parts, strict=True))


def _key(seed: int, latents: Tensor, conditioning: Conditioning, row: int) -> str:
    """What a pool's images depend on, but for their number."""
    parts = [latents, *(conditioning[name][row] for name in sorted(conditioning))]
    return hashlib.sha256(
        b"".join([str(seed).encode(), *(p.float().cpu().numpy().tobytes() for p in parts)])
    ).hexdigest()
