"""One generator for every checkpoint in Stable Diffusion format, the embedded model included."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from steer_env.generators.diffusion import DiffusionGenerator


class StableDiffusionGenerator(DiffusionGenerator):
    """Stable Diffusion 1 and 2, and whatever else diffusers' ``StableDiffusionPipeline`` reads.

    See :class:`DiffusionGenerator` for the arguments.
    """

    kind = "StableDiffusionPipeline"
    options = MappingProxyType({"safety_checker": None, "requires_safety_checker": False})

    def _embed(self, prompts: list[str]) -> dict[str, Tensor]:
        embeds, _ = self.pipeline.encode_prompt(prompts, self.device, 1, do_classifier_free_guidance=False)
        return {"prompt_embeds": embeds}

    def _told(self, conditioning: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"encoder_hidden_states": conditioning["prompt_embeds"]}
