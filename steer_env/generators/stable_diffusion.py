"""Checkpoints in the formats of Stable Diffusion 1, 2 and XL, the embedded model included."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from steer_env.generators.diffusion import DiffusionGenerator


class StableDiffusionGenerator(DiffusionGenerator):
    """Stable Diffusion 1 and 2, and whatever else diffusers' ``StableDiffusionPipeline`` reads."""

    kind = "StableDiffusionPipeline"
    settings = MappingProxyType({"safety_checker": None, "requires_safety_checker": False})

    def _embed(self, prompts: list[str]) -> dict[str, Tensor]:
        embeds, _ = self.pipeline.encode_prompt(prompts, self.device, 1, do_classifier_free_guidance=False)
        return {"prompt_embeds": embeds}

    def _arguments(self, conditioning: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"encoder_hidden_states": conditioning["prompt_embeds"]}


class StableDiffusionXLGenerator(DiffusionGenerator):
    """Stable Diffusion XL's base model, and whatever else diffusers' ``StableDiffusionXLPipeline`` reads.

    Like the pipeline, it asks for uncropped pictures of the checkpoint's own size. Where the checkpoint's decoder
    overflows in float16, it computes in float32.
    """

    kind = "StableDiffusionXLPipeline"
    settings = MappingProxyType({"add_watermarker": False})

    def _prepare(self, path: str) -> None:
        vae, encoders = self.pipeline.vae, (self.pipeline.text_encoder, self.pipeline.text_encoder_2)
        if None in encoders:
            raise ValueError(f"{path} has one text encoder, as the refiner has; images are made by the base model")
        if vae.dtype == torch.float16 and vae.config.force_upcast:
            vae.float()

    def _of_pipeline(self, prompt: str, latents: Tensor, steps: int) -> Tensor:
        if (computes := self._vae.dtype) == self.dtype:
            return super()._of_pipeline(prompt, latents, steps)
        # The pipeline brings the decoder into float32 by itself, and back.
        self._vae.to(self.dtype)
        try:
            return super()._of_pipeline(prompt, latents, steps)
        finally:
            self._vae.to(computes)

    def _embed(self, prompts: list[str]) -> dict[str, Tensor]:
        encode = self.pipeline.encode_prompt
        embeds, _, pooled, _ = encode(prompts, device=self.device, do_classifier_free_guidance=False)
        return {"prompt_embeds": embeds, "pooled_embeds": pooled}

    def _unguided(self) -> dict[str, Tensor]:
        without = super()._unguided()
        if self.pipeline.config.force_zeros_for_empty_prompt:
            return {name: torch.zeros_like(row) for name, row in without.items()}
        return without

    def _arguments(self, conditioning: Mapping[str, Tensor]) -> dict[str, Any]:
        embeds, pooled = conditioning["prompt_embeds"], conditioning["pooled_embeds"]
        _, height, width = self.image_shape
        # The size before cropping, where the crop began, and the size wanted.
        sizes = embeds.new_tensor([height, width, 0, 0, height, width]).expand(len(embeds), 6)
        return {"encoder_hidden_states": embeds, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}

    def _decode(self, sample: Tensor) -> Tensor:
        config = self._vae.config
        # A small decoder has no statistics.
        statistics = config.get("latents_mean"), config.get("latents_std")
        if None not in statistics:
            mean, deviation = (sample.new_tensor(values).view(1, -1, 1, 1) for values in statistics)
            # The scaling factor, which all decoders divide by, stands between the two.
            sample = sample * deviation + mean * config.scaling_factor
        return super()._decode(sample)
