"""What all latent diffusion models share: encoding each prompt once, batches that fit, the sampling loop, decoding."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor

from steer_env.compatibility import quiet
from steer_env.devices import resolve_device, resolve_dtype
from steer_env.generators.batches import (
    TOLERANCE,
    TRIED_PROMPTS,
    TRIED_STEPS,
    BatchedGenerator,
    check_images,
    mean_gap,
    trial_latents,
)
from steer_env.generators.checkpoints import (
    SOLVERS,
    check_solver,
    evaluations,
    latent_size,
    load_pipeline,
    load_solver,
    of_scheduler,
    solve,
    solver_settings,
)
from steer_env.generators.options import StableDiffusionOptions
from steer_env.generators.speed import Speed, padded_size
from steer_env.types import Conditioning

_LOG = logging.getLogger(__name__)
_MOST_PROMPTS = 65_536
"""Encoded prompts kept in memory."""
_GUIDING = ("negative_", "guidance")
"""Beginnings of the names of conditioning that only guidance needs."""


class _Reached(Exception):
    """Ends a pass of the denoiser where its activations are wanted."""

    def __init__(self, activations: Tensor) -> None:
        self.activations = activations


def _stop_here(_: Any, inputs: tuple[Tensor, ...]) -> None:
    raise _Reached(inputs[0])


class DiffusionGenerator(BatchedGenerator):
    """f(z, prompt) through a checkpoint's own scheduler, deterministically (DDIM's η is 0).

    A subclass turns prompts into the denoiser's arguments.

    Args:
        path, steps, guidance_scale, **options: see :class:`steer_env.generators.options.StableDiffusionOptions`.

    Raises:
        FileNotFoundError: the checkpoint isn't there.
        OSError: it can't be read, or is at a hub that can't be reached; with what to do.
        ValueError: a checkpoint for another class, or whose scheduler draws noise; or an option out of range.
    """

    kind: str
    """Name of the pipeline in diffusers that reads the checkpoint."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """Arguments of that pipeline."""
    _guides = True
    """Whether guidance has an effect; on previews it has none."""

    def __init__(
        self,
        path: str,
        steps: int = StableDiffusionOptions.steps,
        guidance_scale: float = StableDiffusionOptions.guidance_scale,
        **options: Any,
    ) -> None:
        chosen = StableDiffusionOptions(path=path, steps=steps, guidance_scale=guidance_scale, **options)
        device = resolve_device(chosen.device)
        if solver := chosen.solver:
            SOLVERS[solver]
        self.speed = Speed(**{field.name: getattr(chosen, field.name) for field in fields(Speed)})
        self.dtype = resolve_dtype(chosen.dtype, device)
        self.pipeline = load_pipeline(self.kind, chosen, self.dtype, **self.settings)
        self._prepare(path)
        if solver:
            self.pipeline.scheduler = load_solver(solver, self.pipeline)
        check_solver(path, self.pipeline, steps)
        self._scheduler, self._unet, self._vae = self.pipeline.scheduler, self.pipeline.unet, self.pipeline.vae
        self.id = chosen.id or " ".join(
            [f"{path}@{steps}x{guidance_scale:g}", *filter(None, [solver]), *chosen.changes()]
        )
        self.steps, self.guidance_scale = steps, guidance_scale
        self._evaluations = evaluations(self._scheduler, steps)
        height, width = latent_size(chosen, self.pipeline)
        self.latent_shape: tuple[int, ...] = (self._unet.config.in_channels, height, width)
        self.image_shape = (3, height * self.pipeline.vae_scale_factor, width * self.pipeline.vae_scale_factor)
        self._batch_is_fixed, self.max_batch = bool(chosen.max_batch), chosen.max_batch or 1
        self.speed.lay_out(self._unet, self._vae)
        self.to(device)
        self._check(path)

    @torch.inference_mode()
    def _check(self, path: str) -> None:
        """See that few steps give the same image twice, in a batch and alone, and the one of the pipeline."""
        few = copy.copy(self)
        few._scheduler, few._denoise, few.steps = (
            copy.deepcopy(self._scheduler),
            self._unet,
            min(self.steps, TRIED_STEPS),
        )
        few._prompts = EncodedPrompts(self.pipeline.tokenizer, self._embed)
        latents = trial_latents(self.latent_shape, self.device)
        both, one = ({name: rows[:n] for name, rows in few.encode(TRIED_PROMPTS).items()} for n in (2, 1))
        first, again, alone = few._sample(latents, both), few._sample(latents, both), few._sample(latents[:1], one)
        check_images(path, first, again, alone, self.dtype, of_scheduler(self._scheduler))
        expected = self._of_pipeline(TRIED_PROMPTS[0], latents[:1].to(self._unet.dtype), few.steps)
        if (gap := mean_gap(alone, expected)) > TOLERANCE[self.dtype]:
            raise ValueError(
                f"{path} asks for something that generator=stable-diffusion doesn't do: its image is {gap:.2g} away "
                f"from that of diffusers' {self.kind}, in the mean of all pixels; read it with generator=diffusers"
            )

    def _of_pipeline(self, prompt: str, latents: Tensor, steps: int) -> Tensor:
        """The image (1, 3, H, W) that diffusers' own pipeline makes."""
        _, height, width = self.image_shape
        options = {"num_inference_steps": steps, "guidance_scale": self.guidance_scale, "output_type": "pt"}
        with catch_warnings():
            # Pipelines warn of what other parts of their own library do.
            simplefilter("ignore")
            return self.pipeline(prompt, latents=latents, height=height, width=width, **options).images

    def _prepare(self, path: str) -> None:
        """Check and change what has just been loaded."""

    def to(self, device: str) -> DiffusionGenerator:
        """Move it; returns itself."""
        self.pipeline.to(device)
        self.device = torch.device(device)
        self._prompts = EncodedPrompts(self.pipeline.tokenizer, self._embed)
        self._denoise = self._unet
        if not self._batch_is_fixed:
            self.max_batch = self._fitting_batch()
        self._denoise = self.speed.denoiser(self._unet)
        return self

    def fingerprint(self) -> str:
        """Of weights and settings, wherever they were read from."""
        return f"{self._weights} {self.steps} {self.guidance_scale:g} {self.speed} {solver_settings(self._scheduler)}"

    @property
    def passes(self) -> int:
        """Denoiser passes an image: what its steps take, each twice where it is guided."""
        return self._evaluations * (2 if self.guidance_scale > 1 and not self._takes_guidance else 1)

    @property
    def _takes_guidance(self) -> bool:
        """Whether the denoiser was distilled to take the guidance scale as an input, and so needs no second pass."""
        return self._unet.config.time_cond_proj_dim is not None

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
        other._evaluations = evaluations(self._scheduler, steps)
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
            arguments = self._arguments(own) | self._guidance_input(1.0, len(latents))
            self._unet(self._scheduler.scale_model_input(sample, time), time, **arguments)
        except _Reached as reached:
            return reached.activations
        finally:
            hook.remove()
        raise AssertionError("the denoiser ended without enlarging anything")

    def _embed(self, prompts: list[str]) -> dict[str, Tensor]:
        """Prompts (B) → the denoiser's conditioning: tensors by name with B rows each."""
        raise NotImplementedError

    def _unguided(self) -> dict[str, Tensor]:
        """The same without a prompt, one row each."""
        (row,) = self._prompts([""], 1)
        return {name: value[None] for name, value in row.items()}

    def _arguments(self, conditioning: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of the denoiser."""
        raise NotImplementedError

    def _guidance_input(self, scales: float | Tensor, n: int) -> dict[str, Tensor]:
        """What a denoiser that takes the guidance scale as an input needs for n images: one scale, or (n,)."""
        if not self._takes_guidance:
            return {}
        weights = torch.as_tensor(scales, dtype=torch.float32, device=self.device).expand(n) - 1
        embed = self.pipeline.get_guidance_scale_embedding
        embedded = embed(weights.cpu(), embedding_dim=self._unet.config.time_cond_proj_dim)
        return {"timestep_cond": embedded.to(self.device, self._unet.dtype)}

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts (B) → ``prompt_embeds`` (B, length, width) and what else the denoiser needs, with B rows each.

        Guidance adds the same for the empty prompt, under ``negative_…``. A prompt beyond the text encoder's limit is
        cut, with a warning.
        """
        conditioning = self._rows(prompts)
        return conditioning | (self._without(conditioning) if self.guidance_scale > 1 else {})

    @torch.inference_mode()
    def encode_guided(self, prompts: Sequence[str], scales: Sequence[float]) -> Conditioning:
        """As :meth:`encode`, with ``guidance`` float (B,) in place of the generator's own scale; none at 1 or below."""
        conditioning = self._rows(prompts)
        guidance = torch.tensor(scales, dtype=conditioning["prompt_embeds"].dtype, device=self.device)
        return conditioning | self._without(conditioning) | {"guidance": guidance}

    def _rows(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        rows = self._prompts(prompts, self.max_batch)
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _without(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning of guidance's second pass, with as many rows; nothing where there is none."""
        if self._takes_guidance:
            return {}
        return {f"negative_{name}": row.expand_as(conditioning[name]) for name, row in self._unguided().items()}

    def _sample(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        n = len(latents)
        # A compiled denoiser knows few sizes: the last image stands in for those that are missing.
        size = n if self._denoise is self._unet else padded_size(n, self.max_batch)
        rows = torch.arange(size, device=latents.device).clamp(max=n - 1)
        sample = latents[rows].to(self._unet.dtype)
        used = [name for name in conditioning if self._guides or not name.startswith(_GUIDING)]
        inputs = {name: conditioning[name][rows] for name in used}
        scales: float | Tensor = inputs.pop("guidance", self.guidance_scale)
        own = [name for name in inputs if not name.startswith("negative_")]
        guided = len(own) < len(inputs)
        if guided:
            inputs = {name: torch.cat([inputs[f"negative_{name}"], inputs[name]]) for name in own}
        arguments = {"return_dict": False, **self._arguments(inputs), **self._guidance_input(scales, size)}

        def denoise(noisy: Tensor, time: Tensor) -> Tensor:
            if not guided:
                return self._denoise(noisy, time, **arguments)[0]
            unguided, named = self._denoise(torch.cat([noisy] * 2), time, **arguments)[0].chunk(2)
            return _guide(unguided, named, scales)

        with self.speed.precision():
            return self._decode(solve(self._scheduler, self.steps, sample, denoise)[:n])

    def _decode(self, sample: Tensor) -> Tensor:
        """Denoised latents → images float32 (B, 3, H, W) in [0, 1]."""
        decoded = self.speed.decode(self._vae, (sample / self._vae.config.scaling_factor).to(self._vae.dtype))
        return (decoded.float() / 2 + 0.5).clamp(0, 1)


def _guide(unguided: Tensor, named: Tensor, scales: float | Tensor) -> Tensor:
    """Away from the prediction without a prompt, by one scale or by each image's own, (B,)."""
    if not isinstance(scales, Tensor):
        return unguided + scales * (named - unguided)
    scales = scales.view(-1, 1, 1, 1)
    return torch.where(scales > 1, unguided + scales * (named - unguided), named)


class EncodedPrompts:
    """Encodes each distinct prompt once, and warns where it is longer than the tokenizer's limit.

    Args:
        tokenizer: of the text encoder.
        embed: encodes n prompts: tensors with n rows by name.
    """

    def __init__(self, tokenizer: Any, embed: Callable[[list[str]], dict[str, Tensor]]) -> None:
        self._tokenizer, self._embed = tokenizer, embed
        self._known: dict[str, dict[str, Tensor]] = {}

    def __call__(self, prompts: Sequence[str], at_a_time: int) -> list[dict[str, Tensor]]:
        """For each prompt, its row of each tensor."""
        distinct = list(dict.fromkeys(prompts))
        new = [prompt for prompt in distinct if prompt not in self._known]
        if len(self._known) + len(new) > _MOST_PROMPTS:
            self._known.clear()
            new = distinct
        for start in range(0, len(new), at_a_time):
            part = new[start : start + at_a_time]
            # Both libraries would print whole prompts that are too long, one of them cut.
            with quiet():
                self._warn_of_long(part)
                embedded = self._embed(part)
            for i, prompt in enumerate(part):
                self._known[prompt] = {name: values[i] for name, values in embedded.items()}
        return [self._known[prompt] for prompt in prompts]

    def _warn_of_long(self, prompts: list[str]) -> None:
        limit = self._tokenizer.model_max_length
        cut = {p: len(t) - limit for p, t in zip(prompts, self._tokenizer(prompts).input_ids, strict=True)}
        longest = max(cut, key=cut.__getitem__)
        if cut[longest] > 0:
            others = sum(tokens > 0 for tokens in cut.values()) - 1
            more = f", and of {others} more prompts" if others else ""
            _LOG.warning(
                "the text encoder reads %d tokens: %d of %r are cut%s", limit, cut[longest], longest[:60], more
            )
