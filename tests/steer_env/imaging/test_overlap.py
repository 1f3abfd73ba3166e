"""Embedding beside the next shard's generation, with a GPU's streams played by a list of what they were told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from steer_env.imaging import studio as studios
from steer_env.imaging.studio import LocalStudio
from steer_env.types import Generator, Metric
from tests.conftest import CountingGenerator


def test_a_shard_is_embedded_on_a_stream_of_its_own(
    generator: Generator, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Stream:
        def __init__(self, name: Any) -> None:
            self.name = "main" if name == "main" else "side"

        def wait_stream(self, other: Stream) -> None:
            events.append(f"{self.name} waits for {other.name}")

        def synchronize(self) -> None:
            events.append(f"{self.name} is over")

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        events.append(f"on {stream.name}")
        yield
        events.append("off")

    class OnGPU(CountingGenerator):
        def generate(self, latents: torch.Tensor, conditioning: Any) -> torch.Tensor:
            events.append("generate")
            return super().generate(latents, conditioning)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: events.append("keep"))
    monkeypatch.setattr(studios, "_to_pinned", lambda images: images.clone())
    made = OnGPU(generator)
    made.device = torch.device("cuda")
    latents, conditioning = torch.randn(3, *generator.latent_shape), generator.encode(["a star"] * 3)
    shards = list(studios._cut(latents, conditioning, None, 2))
    found = studios.overlapped(made, {"": metric}, shards, keep_images=True)
    each = ["generate", "side waits for main", "on side", "keep", "off"]
    assert events == [*each, *each, "main waits for side", "side is over"]
    usual, images = LocalStudio(generator, metric, shard=2).picture(latents, conditioning, "here", keep_images=True)
    assert torch.equal(torch.cat([embeddings[""] for embeddings, _ in found]), usual[""])
    assert torch.equal(torch.cat([pixels for _, pixels in found]), images)
