"""Images that the model could make for a user's prompt: candidates to offer, and hypotheses about the goal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from steer_env.proposals import draw_latents
from steer_env.types import Conditioning, Metric, PreviewingGenerator, Studio, passes

_STREAM = 0xB001


def draw_pools(latents: Tensor, seeds: Sequence[int], pool: int) -> Tensor:
    """Latents float32 (n, P, *latent_shape) of n episodes' pools, each episode's from its seed; where ``latents`` are.

    A smaller pool is the beginning of a larger one.
    """
    streams = [np.random.SeedSequence([seed, _STREAM]).generate_state(pool, np.uint32) for seed in seeds]
    drawn = draw_latents([int(seed) for seed in np.concatenate(streams)], tuple(latents.shape[1:]))
    return drawn.to(latents.device).unflatten(0, (len(seeds), pool))


class Hypotheses:
    """Makes pools of images, or cheap previews of them, and embeds them.

    Args:
        studio: makes the images.
        metrics: embed them.
        kept: how many pools to keep for other mechanisms and users that share this object and want them of the same
            episodes.
    """

    def __init__(self, studio: Studio, metrics: Sequence[Metric], kept: int = 0) -> None:
        self._studio, self._kept = studio, kept
        self._metrics = {metric.id: metric for metric in metrics}
        self._names = [studio.name_of(metric) for metric in self._metrics.values()]
        self._known: dict[str, Tensor] = {}

    def passes(self, preview_steps: int = 0) -> int:
        """Denoiser passes of an image in full, or of a preview of so many steps.

        Raises:
            ValueError: previews by a generator that makes none, or of too many steps.
        """
        generator = self._studio.generator
        if not preview_steps:
            return passes(generator)
        if not isinstance(generator, PreviewingGenerator):
            raise ValueError(f"generator {generator.id!r} makes no previews: it has no method preview(steps)")
        return passes(generator.preview(preview_steps))

    def make(
        self,
        latents: Tensor,
        seeds: Sequence[int],
        pool: int,
        conditioning: Conditioning,
        rows: np.ndarray,
        preview_steps: int = 0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Pools of n episodes.

        Args:
            latents: float (n, *latent_shape), of their first images, for shape and device alone.
            seeds: n, of the episodes.
            pool: P, images in a pool.
            conditioning: the users' prompts, any number of rows.
            rows: int64 (n,), which of them are the episodes'.
            preview_steps: denoiser passes of a preview; 0 for images in full.

        Returns:
            Latents (n, P, *latent_shape); and by id of each metric unit vectors (n, P, D).
        """
        pools, where = draw_pools(latents, seeds, pool), torch.from_numpy(rows).to(latents.device)

        def embed(new: list[int]) -> Tensor:
            embeddings, _ = self._studio.picture(
                pools[new].flatten(0, 1),
                conditioning,
                "pools of hypotheses",
                where[new].repeat_interleave(pool),
                metrics=self._names,
                preview_steps=preview_steps,
            )
            return torch.cat(list(embeddings.values()), dim=1).unflatten(0, (len(new), pool))

        embeddings = self.recall(f"images {preview_steps}", seeds, pool, conditioning, rows, embed)
        parts = embeddings.split([metric.dimensions for metric in self._metrics.values()], dim=2)
        return pools, dict(zip(self._metrics, parts, strict=True))

    def recall(
        self,
        kind: str,
        seeds: Sequence[int],
        pool: int,
        conditioning: Conditioning,
        rows: np.ndarray,
        embed: Callable[[list[int]], Tensor],
    ) -> Tensor:
        """Embeddings (n, P, D) of n episodes' pools: kept ones, or new ones by ``embed``, of some of the n.

        Args:
            kind: what tells such embeddings from others of the same episode.
            seeds, pool, conditioning, rows: as for :meth:`make`.
            embed: places among the n → (m, P, D).
        """
        keys = [_key(kind, seed, conditioning, int(row)) for seed, row in zip(seeds, rows, strict=True)]
        new = [i for i, key in enumerate(keys) if len(self._known.get(key, ())) < pool]
        if new:
            self._known.update(zip([keys[i] for i in new], embed(new), strict=True))
        embeddings = torch.stack([self._known[key][:pool] for key in keys])
        while len(self._known) > self._kept:
            del self._known[next(iter(self._known))]
        return embeddings


def _key(kind: str, seed: int, conditioning: Conditioning, row: int) -> str:
    """What a pool's images depend on, but for their number."""
    parts = [conditioning[name][row] for name in sorted(conditioning)]
    return hashlib.sha256(
        b"".join([f"{seed} {kind}".encode(), *(p.float().cpu().numpy().tobytes() for p in parts)])
    ).hexdigest()
