"""One generator for every checkpoint in Stable Diffusion format, the embedded model included."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from steer_env.generators.checkpoints import SOLVERS, load_pipeline, load_solver, pipeline_fingerprint, plain_config
from steer_env.types import Conditioning

_LOG = logging.getLogger(__name__)
_ENCODED_PROMPTS_KEPT = 65_536


class StableDiffusionGenerator:
    """f(z, prompt) through a checkpoint's own scheduler, deterministically (DDIM's η is 0).

    Args:
        path: a local folder in Stable Diffusion format, or a hub id.
        steps: denoising steps an image.
        guidance_scale: classifier-free guidance; at 1 or below there is no second pass.
        max_batch: most images generated at a time; bounds the memory. Halved where the device's memory doesn't suffice.
        device: where it runs.
        dtype: precision of its weights, a name of torch's.
        solver: a name of :data:`steer_env.generators.checkpoints.SOLVERS`; by default the checkpoint's own.
        id: what traces call it; path, steps, guidance and solver by default.

    Raises:
        FileNotFoundError: the checkpoint isn't there.
        OSError: it can't be read, or is at a hub that can't be reached; with what to do.
        ValueError: steps or max_batch below 1, or an unknown dtype or solver.
    """

    def __init__(
        self,
        path: str,
        steps: int = 20,
        guidance_scale: float = 7.5,
        max_batch: int = 64,
        device: str = "cpu",
        dtype: str = "float32",
        solver: str = "",
        id: str | None = None,
    ) -> None:
        if steps < 1 or max_batch < 1:
            raise ValueError(f"steps and max_batch must be at least 1, got {steps} and {max_batch}")
        if dtype not in ("float32", "float16", "bfloat16"):
            raise ValueError(f"unknown dtype {dtype!r}; there are: float32, float16, bfloat16")
        if solver:
            SOLVERS[solver]
        self.pipeline = load_pipeline(path, getattr(torch, dtype)).to(device)
        if solver:
            self.pipeline.scheduler = load_solver(solver, self.pipeline)
        self._scheduler, self._unet, self._vae = (
            self.pipeline.scheduler,
            self.pipeline.unet,
            self.pipeline.vae,
        )
        self.id = id or " ".join([f"{path}@{steps}x{guidance_scale}", *([solver] if solver else [])])
        self.steps, self.guidance_scale, self.max_batch = steps, guidance_scale, max_batch
        self.device = torch.device(device)
        size = self._unet.config.sample_size
        self.latent_shape: tuple[int, ...] = (self._unet.config.in_channels, size, size)
        pixels = size * self.pipeline.vae_scale_factor
        self.image_shape = (3, pixels, pixels)
        self._encoded: dict[str, Tensor] = {}
        self._weights: str | None = None

    def to(self, device: str) -> StableDiffusionGenerator:
        """Move it; returns itself."""
        self.pipeline.to(device)
        self.device = torch.device(device)
        self._encoded.clear()
        return self

    def fingerprint(self) -> str:
        """See :class:`steer_env.types.Fingerprinted`: of weights and settings, wherever they were read from."""
        if self._weights is None:
            self._weights = pipeline_fingerprint(self.pipeline)
        scheduler = self._scheduler
        solver = sorted({"solver": type(scheduler).__name__, **plain_config(scheduler.config)}.items())
        return f"{self._weights} {self.steps} {self.guidance_scale} {solver}"

    @property
    def _guided(self) -> bool:
        return self.guidance_scale > 1

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts (B) → ``prompt_embeds`` (B, length, width), and ``negative_embeds`` where guidance needs them.

        Logs a warning of a prompt that is longer than the text encoder reads, with the number of tokens cut.
        """
        self._encode_new(list(dict.fromkeys(prompts)))
        conditioning = {"prompt_embeds": torch.stack([self._encoded[prompt] for prompt in prompts])}
        if self._guided:
            self._encode_new([""])
            conditioning["negative_embeds"] = self._encoded[""].expand_as(conditioning["prompt_embeds"])
        return conditioning

    @torch.inference_mode()
    def encode_guided(self, prompts: Sequence[str], scales: Sequence[float]) -> Conditioning:
        """As :meth:`encode`, with ``guidance`` float (B,) in place of the generator's own scale; 1 or below is none."""
        self._encode_new(list(dict.fromkeys([*prompts, ""])))
        embeds = torch.stack([self._encoded[prompt] for prompt in prompts])
        guidance = torch.tensor(scales, dtype=embeds.dtype, device=self.device)
        return {"prompt_embeds": embeds, "negative_embeds": self._encoded[""].expand_as(embeds), "guidance": guidance}

    def _encode_new(self, prompts: list[str]) -> None:
        new = [prompt for prompt in prompts if prompt not in self._encoded]
        if len(self._encoded) + len(new) > _ENCODED_PROMPTS_KEPT:
            self._encoded.clear()
            new = prompts
        for start in range(0, len(new), self.max_batch):
            part = new[start : start + self.max_batch]
            self._warn_of_long(part)
            embeds, _ = self.pipeline.encode_prompt(part, self.device, 1, do_classifier_free_guidance=False)
            self._encoded.update(zip(part, embeds, strict=True))

    def _warn_of_long(self, prompts: list[str]) -> None:
        tokenizer = self.pipeline.tokenizer
        for prompt, tokens in zip(prompts, tokenizer(prompts, verbose=False).input_ids, strict=True):
            if (cut := len(tokens) - tokenizer.model_max_length) > 0:
                limit = tokenizer.model_max_length
                _LOG.warning("the text encoder reads %d tokens: %d of %r are cut", limit, cut, prompt[:60])

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
        embeds, guided = conditioning["prompt_embeds"], "negative_embeds" in conditioning
        if guided:
            embeds = torch.cat([conditioning["negative_embeds"], embeds])
        self._scheduler.set_timesteps(self.steps, device=self.device)
        sample = latents.to(self._unet.dtype) * self._scheduler.init_noise_sigma
        for time in self._scheduler.timesteps:
            inputs = torch.cat([sample] * 2) if guided else sample
            inputs = self._scheduler.scale_model_input(inputs, time)
            output = self._unet(inputs, time, encoder_hidden_states=embeds, return_dict=False)[0]
            if guided:
                unguided, named = output.chunk(2)
                output = self._guide(unguided, named, conditioning.get("guidance"))
            sample = self._scheduler.step(output, time, sample, return_dict=False)[0]
        decoded = self._vae.decode(sample / self._vae.config.scaling_factor, return_dict=False)[0]
        return (decoded.float() / 2 + 0.5).clamp(0, 1)

    def _guide(self, unguided: Tensor, named: Tensor, scales: Tensor | None) -> Tensor:
        """Away from what no prompt gives, by the generator's scale or by each image's own, (B,)."""
        if scales is None:
            return unguided + self.guidance_scale * (named - unguided)
        scales = scales.view(-1, 1, 1, 1)
        return torch.where(scales > 1, unguided + scales * (named - unguided), named)
