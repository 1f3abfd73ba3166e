"""What all latent diffusion models share: encoding each prompt once, batches that fit, the sampling loop, decoding."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from steer_env.devices import resolve_device, resolve_dtype
from steer_env.generators.checkpoints import (
    SOLVERS,
    check_solver,
    latent_size,
    load_pipeline,
    load_solver,
    pipeline_fingerprint,
    plain_config,
    solve,
)
from steer_env.generators.options import StableDiffusionOptions
from steer_env.generators.prompts import EncodedPrompts
from steer_env.generators.speed import Speed, fitting_batch, padded_size
from steer_env.types import Conditioning

_LOG = logging.getLogger(__name__)
_GUIDING = ("negative_", "guidance")
"""How names of what only guidance needs begin."""


class _Reached(Exception):
    """Ends a pass of the denoiser where its activations are wanted."""

    def __init__(self, activations: Tensor) -> None:
        self.activations = activations


def _stop_here(_: Any, inputs: tuple[Tensor, ...]) -> None:
    raise _Reached(inputs[0])


class DiffusionGenerator:
    """f(z, prompt) through a checkpoint's own scheduler, deterministically (DDIM's η is 0).

    A subclass says what its denoiser is told of a prompt.

    Args:
        path, steps, guidance_scale, max_batch, device, dtype, solver, variant, id: see
            :class:`steer_env.generators.options.StableDiffusionOptions`.
        **speed: see :class:`steer_env.generators.speed.Speed`.

    Raises:
        FileNotFoundError: the checkpoint isn't there.
        OSError: it can't be read, or is at a hub that can't be reached; with what to do.
        ValueError: a checkpoint for another class, or one whose scheduler draws noise of its own; steps below 1,
            max_batch below 0, an unknown dtype or solver, or a bad option of speed.
    """

    kind: str
    """Name of the pipeline in diffusers that reads the checkpoint."""
    _guides = True
    """Whether it heeds guidance; previews don't."""
    options: Mapping[str, Any] = MappingProxyType({})
    """What that pipeline is told."""

    def __init__(
        self,
        path: str,
        steps: int = StableDiffusionOptions.steps,
        guidance_scale: float = StableDiffusionOptions.guidance_scale,
        max_batch: int = StableDiffusionOptions.max_batch,
        device: str = StableDiffusionOptions.device,
        dtype: str = StableDiffusionOptions.dtype,
        solver: str = StableDiffusionOptions.solver,
        variant: str = StableDiffusionOptions.variant,
        id: str = StableDiffusionOptions.id,
        **speed: Any,
    ) -> None:
        if steps < 1 or max_batch < 0:
            raise ValueError(f"steps must be at least 1, max_batch at least 0, got {steps} and {max_batch}")
        device, precision = resolve_device(device), resolve_dtype(dtype)
        if solver:
            SOLVERS[solver]
        self.speed = Speed(**speed)
        self.pipeline = load_pipeline(self.kind, path, precision, variant, **self.options)
        self._prepare(path)
        if solver:
            self.pipeline.scheduler = load_solver(solver, self.pipeline)
        check_solver(path, self.pipeline, steps)
        self._scheduler, self._unet, self._vae = self.pipeline.scheduler, self.pipeline.unet, self.pipeline.vae
        self.id = id or " ".join([f"{path}@{steps}x{guidance_scale:g}", *filter(None, [solver, variant])])
        self.steps, self.guidance_scale = steps, guidance_scale
        height, width = latent_size(path, self._unet)
        self.latent_shape: tuple[int, ...] = (self._unet.config.in_channels, height, width)
        self.image_shape = (3, height * self.pipeline.vae_scale_factor, width * self.pipeline.vae_scale_factor)
        self._prompts = EncodedPrompts(self.pipeline.tokenizer, self._embed)
        self._weights: str | None = None
        self._batch_told, self.max_batch = max_batch, max_batch or 1
        self.speed.lay_out(self._unet, self._vae)
        self.to(device)

    def _prepare(self, path: str) -> None:
        """Check and change what has just been loaded."""

    def to(self, device: str) -> DiffusionGenerator:
        """Move it; returns itself."""
        self.pipeline.to(device)
        self.device = torch.device(device)
        self._prompts.clear()
        self._denoise = self._unet
        if not self._batch_told:
            self.max_batch = fitting_batch(self.device, self._peak)
        self._denoise = self.speed.denoiser(self._unet)
        return self

    @torch.inference_mode()
    def _peak(self, images: int) -> int:
        """Bytes of a GPU that so many images take at most while they are made."""
        latents, conditioning = torch.zeros(images, *self.latent_shape).to(self.device), self.encode([""] * images)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self._sample(latents, conditioning)
        return torch.cuda.max_memory_allocated(self.device) - before

    def fingerprint(self) -> str:
        """See :class:`steer_env.types.Fingerprinted`: of weights and settings, wherever they were read from."""
        if self._weights is None:
            self._weights = pipeline_fingerprint(self.pipeline)
        scheduler = self._scheduler
        solver = sorted({"solver": type(scheduler).__name__, **plain_config(scheduler.config)}.items())
        return f"{self._weights} {self.steps} {self.guidance_scale:g} {self.speed} {solver}"

    @property
    def passes(self) -> int:
        """Denoiser passes an image: its steps, each twice where it is guided."""
        return self.steps * (2 if self.guidance_scale > 1 else 1)

    def preview(self, steps: int) -> DiffusionGenerator:
        """See :class:`steer_env.types.PreviewingGenerator`; the copy shares weights and encoded prompts.

        Raises:
            ValueError: no steps, or more than the generator's own.
        """
        if not 1 <= steps <= self.steps:
            raise ValueError(f"preview_steps must be 1 to {self.steps}, the generator's own steps, got {steps}")
        other = copy.copy(self)
        # A scheduler remembers how many steps it was set to.
        other._scheduler = copy.deepcopy(self._scheduler)
        other.steps, other.guidance_scale, other._guides = steps, 1.0, False
        other.id = f"{self.id} preview={steps}"
        return other

    @torch.inference_mode()
    def glimpse(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """What the denoiser's first blocks make of the first step, without guidance: float (B, C, h, w).

        They are the activations at the coarsest resolution, just before they are enlarged again; the rest of the pass
        isn't computed, and ``max_batch`` isn't heeded.

        Raises:
            ValueError: a denoiser of a single resolution, which enlarges nothing.
        """
        enlarging = next((block.upsamplers[0] for block in self._unet.up_blocks if block.upsamplers), None)
        if enlarging is None:
            raise ValueError(f"the denoiser of {self.id} has a single resolution: there are no coarse activations")
        own = {name: values for name, values in conditioning.items() if not name.startswith(_GUIDING)}
        self._scheduler.set_timesteps(self.steps, device=self.device)
        time = self._scheduler.timesteps[0]
        sample = latents.to(self._unet.dtype) * self._scheduler.init_noise_sigma
        hook = enlarging.register_forward_pre_hook(_stop_here)
        try:
            self._unet(self._scheduler.scale_model_input(sample, time), time, **self._told(own))
        except _Reached as reached:
            return reached.activations
        finally:
            hook.remove()
        raise AssertionError("the denoiser ended without enlarging anything")

    def _embed(self, prompts: list[str]) -> dict[str, Tensor]:
        """What the denoiser is told of the prompts, by name, each with as many rows."""
        raise NotImplementedError

    def _unguided(self) -> dict[str, Tensor]:
        """The same of no prompt, one row each."""
        (row,) = self._prompts([""], 1)
        return {name: value[None] for name, value in row.items()}

    def _told(self, conditioning: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of the denoiser."""
        raise NotImplementedError

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts (B) → ``prompt_embeds`` (B, length, width) and what else the denoiser is told, with B rows each.

        The same again under ``negative_…`` where guidance needs it. Logs a warning of a prompt that is longer than the
        text encoder reads, with the number of tokens cut.
        """
        conditioning = self._rows(prompts)
        return conditioning | self._without(conditioning) if self.guidance_scale > 1 else conditioning

    @torch.inference_mode()
    def encode_guided(self, prompts: Sequence[str], scales: Sequence[float]) -> Conditioning:
        """As :meth:`encode`, with ``guidance`` float (B,) in place of the generator's own scale; 1 or below is none."""
        conditioning = self._rows(prompts)
        guidance = torch.tensor(scales, dtype=conditioning["prompt_embeds"].dtype, device=self.device)
        return conditioning | self._without(conditioning) | {"guidance": guidance}

    def _rows(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        rows = self._prompts(prompts, self.max_batch)
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _without(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the second pass of guidance is told, with as many rows."""
        return {f"negative_{name}": row.expand_as(conditioning[name]) for name, row in self._unguided().items()}

    @torch.inference_mode()
    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """Standard normal latents (B, *latent_shape) → images float32 (B, 3, H, W) in [0, 1].

        Raises:
            ValueError: latents of another shape, or conditioning with another number of rows.
        """
        rows = len(conditioning["prompt_embeds"])
        if tuple(latents.shape[1:]) != self.latent_shape or rows != len(latents):
            expected = f"({rows}, {', '.join(map(str, self.latent_shape))})"
            raise ValueError(f"latents for {rows} prompts must have shape {expected}, got {tuple(latents.shape)}")
        images: list[Tensor] = []
        start = 0
        while start < len(latents):
            part = slice(start, start + self.max_batch)
            try:
                images.append(self._sample(latents[part], {k: v[part] for k, v in conditioning.items()}))
            except torch.OutOfMemoryError:
                if self.max_batch == 1:
                    raise
                self._halve()
                continue
            start = part.stop
        return torch.cat(images)

    def _halve(self) -> None:
        """Go on with smaller batches."""
        self.max_batch //= 2
        torch.cuda.empty_cache()
        _LOG.warning("not enough memory on %s: going on with %d images at a time", self.device, self.max_batch)

    def _sample(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        n = len(latents)
        # A compiled denoiser knows few sizes: the last image stands in for those that are missing.
        size = n if self._denoise is self._unet else padded_size(n, self.max_batch)
        rows = torch.arange(size, device=latents.device).clamp(max=n - 1)
        sample = latents[rows].to(self._unet.dtype)
        heeded = [name for name in conditioning if self._guides or not name.startswith(_GUIDING)]
        given = {name: conditioning[name][rows] for name in heeded}
        scales: float | Tensor = given.pop("guidance", self.guidance_scale)
        own = [name for name in given if not name.startswith("negative_")]
        guided = len(own) < len(given)
        if guided:
            given = {name: torch.cat([given[f"negative_{name}"], given[name]]) for name in own}
        with self.speed.precision():
            return self._decode(self._solve(sample, self._told(given), scales if guided else None)[:n])

    def _solve(self, sample: Tensor, told: Mapping[str, Any], scales: float | Tensor | None) -> Tensor:
        """Standard normal latents (B, *latent_shape) → denoised ones, guided by these scales, or not at all."""

        def denoise(inputs: Tensor, time: Tensor) -> Tensor:
            if scales is None:
                return self._denoise(inputs, time, return_dict=False, **told)[0]
            unguided, named = self._denoise(torch.cat([inputs] * 2), time, return_dict=False, **told)[0].chunk(2)
            return _guide(unguided, named, scales)

        return solve(self._scheduler, self.steps, sample, denoise)

    def _decode(self, sample: Tensor) -> Tensor:
        """Denoised latents → images float32 (B, 3, H, W) in [0, 1]."""
        decoded = self.speed.decode(self._vae, (sample / self._vae.config.scaling_factor).to(self._vae.dtype))
        return (decoded.float() / 2 + 0.5).clamp(0, 1)


def _guide(unguided: Tensor, named: Tensor, scales: float | Tensor) -> Tensor:
    """Away from what no prompt gives, by one scale or by each image's own, (B,)."""
    if not isinstance(scales, Tensor):
        return unguided + scales * (named - unguided)
    scales = scales.view(-1, 1, 1, 1)
    return torch.where(scales > 1, unguided + scales * (named - unguided), named)
