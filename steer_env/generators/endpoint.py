"""Image models behind a server that speaks OpenAI's images API, for users who write prompts."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steer_env.compatibility import reason
from steer_env.files import write_atomically
from steer_env.generators.options import ImageEndpointOptions
from steer_env.generators.prompts import decoded, encoded
from steer_env.servers import Server, ServerError
from steer_env.types import Conditioning

_MOST_BYTES = 64_000_000
_AT_A_TIME = 8


class EndpointGenerator:
    """An image for each prompt and latent, asked for once and kept on disk.

    Such a model takes no latents: a latent only tells one image of a prompt from another, so that the same run gives
    the same images. Users can rewrite prompts; they can't mix images.

    Args:
        model, **options: see :class:`steer_env.generators.options.ImageEndpointOptions`.

    Raises:
        ValueError: an option out of range.
        ServerError: no key for OpenAI's own server.
    """

    takes_latents = False
    latent_shape: tuple[int, ...] = (4,)
    passes = 1
    device = torch.device("cpu")

    def __init__(self, model: str, **options: Any) -> None:
        chosen = ImageEndpointOptions(model=model, **options)
        if not (size := re.fullmatch(r"(\d{2,4})x(\d{2,4})", chosen.size)):
            raise ValueError(f"size must be WIDTHxHEIGHT in pixels, such as 1024x1024, got {chosen.size!r}")
        if not chosen.cache:
            raise ValueError("cache must name a folder: without kept answers the same latent gives other images")
        width, height = map(int, size.groups())
        self._server = Server(chosen, _MOST_BYTES)
        self._settings = {"model": model, "size": chosen.size, "n": 1, **chosen.arguments}
        self._cache = Path(chosen.cache).expanduser()
        self.image_shape = (3, height, width)
        self.max_batch = _AT_A_TIME
        self.id = chosen.id or f"{model} {chosen.size}"

    def fingerprint(self) -> str:
        """Of the server and what is sent to it; what it answers may change all the same."""
        return json.dumps([self._server.address, self._settings], sort_keys=True)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """See :func:`steer_env.generators.prompts.encoded`."""
        return {"prompt": encoded(prompts)}

    def generate(self, latents: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        """Latents (B, 4) → images float32 (B, 3, H, W) in [0, 1]; answers before or beside an error are kept.

        Raises:
            ValueError: latents of another shape, or another number of prompts.
            ServerError: the server can't be reached, refuses, or answers no image of that size.
        """
        prompts = decoded(conditioning["prompt"])
        if tuple(latents.shape) != (len(prompts), *self.latent_shape):
            raise ValueError(f"latents for {len(prompts)} prompts must have shape ({len(prompts)}, 4)")
        places = [self._place(prompt, latent) for prompt, latent in zip(prompts, latents, strict=True)]
        distinct = dict(zip(places, prompts, strict=True))
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            made = dict(zip(distinct, pool.map(self._image, distinct, distinct.values()), strict=True))
        return torch.stack([made[place] for place in places]) if places else torch.zeros(0, *self.image_shape)

    def _image(self, place: Path, prompt: str) -> Tensor:
        if place.is_file():
            return self._opened(place.read_bytes(), str(place))
        answer = self._server.ask("images/generations", {**self._settings, "prompt": prompt})
        content = self._content(answer)
        image = self._opened(content, self._server.address)
        write_atomically(place, content)
        return image

    def _place(self, prompt: str, latent: Tensor) -> Path:
        number = hashlib.sha256(latent.float().cpu().contiguous().numpy().tobytes()).hexdigest()
        address = hashlib.sha256(json.dumps([self.fingerprint(), prompt, number]).encode()).hexdigest()
        return self._cache / f"{address}.image"

    def _content(self, answer: Any) -> bytes:
        """The bytes of the image in an answer."""
        try:
            (entry,) = answer["data"]
            if not entry.get("b64_json") and entry.get("url"):
                raise ServerError(
                    f"{self._server.address} answers an address of the image, which isn't fetched: ask for the image "
                    "itself, arguments={response_format: b64_json}"
                )
            return base64.b64decode(entry["b64_json"], validate=True)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"{self._server.address} answered no image in OpenAI's format") from error

    def _opened(self, content: bytes, source: str) -> Tensor:
        """Float32 (3, H, W) in [0, 1]."""
        from PIL import Image

        _, height, width = self.image_shape
        try:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
                # Known before anything is unpacked.
                if image.size != (width, height):
                    size = "x".join(map(str, image.size))
                    raise ServerError(f"{source} holds an image of {size} pixels, not {width}x{height}: set size")
                pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
        except (OSError, ValueError, SyntaxError) as error:
            raise ServerError(f"{source} holds no PNG, JPEG or WebP image: {reason(error)}") from error
        return torch.from_numpy(pixels / 255).permute(2, 0, 1)
