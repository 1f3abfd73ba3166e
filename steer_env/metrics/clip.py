"""CLIP's cosine between two images, and between an image and its prompt (paper, Figure 6), through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steer_env.compatibility import quiet, reason
from steer_env.fingerprints import fingerprint
from steer_env.metrics.checkpoints import CheckpointError
from steer_env.metrics.networks import FILES, Preprocessing, TransformersMetric, advice, load_network
from steer_env.metrics.options import CLIPOptions

_TOKENIZERS = ("tokenizer.json", "vocab.json")
_TEXT_ADVICE = "Prompts need a whole CLIP checkpoint as transformers' save_pretrained writes it, tokenizer included"
_BICUBIC = 3


class CLIPMetric(TransformersMetric):
    """Cosine of CLIP's image embeddings; the text half of a checkpoint isn't loaded.

    Args:
        path, **options: see :class:`steer_env.metrics.options.CLIPOptions`.

    Raises:
        ValueError: see :class:`steer_env.metrics.checkpoints.NetworkMetric`.
        CheckpointError: a hub that can't be reached, or a checkpoint that is missing, damaged, pickled, or no CLIP.
    """

    family, output = "CLIP", "image_embeds"

    def __init__(self, path: str = CLIPOptions.path, **options: Any) -> None:
        super().__init__(CLIPOptions(path=path, **options))

    def _kind(self) -> Any:
        from transformers import CLIPVisionModelWithProjection

        return CLIPVisionModelWithProjection

    def _preprocessing(self, model: Any) -> Preprocessing:
        from transformers import CLIPImageProcessor

        try:
            processor = CLIPImageProcessor.from_pretrained(self._folder, trust_remote_code=False).to_dict()
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self._folder} is damaged: {reason(error)}. {advice(self.family)}") from error
        size, crop, image_size = processor["size"], processor["crop_size"], model.config.image_size
        steps = {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}
        known = all(processor[name] for name in steps) and processor["resample"] == _BICUBIC and "shortest_edge" in size
        if not known or not crop["height"] == crop["width"] == image_size <= size["shortest_edge"]:
            raise CheckpointError(
                f"{self._folder / FILES[1]} isn't CLIP's: expected are bicubic resizing of the shortest edge, a "
                f"central crop to the model's {image_size} pixels, and rescaling and normalisation of values"
            )
        mean, std = (tuple(processor[name]) for name in ("image_mean", "image_std"))
        return Preprocessing(size["shortest_edge"], (crop["height"], crop["width"]), mean, std)


class CLIPAlignment(CLIPMetric):
    """How well an image shows what its prompt says: an :class:`steer_env.types.Alignment`.

    It is CLIPScore (Hessel et al., 2021) before scaling: the cosine of the two embeddings, mostly 0 to 0.4. Arguments
    and errors are those of :class:`CLIPMetric`; the checkpoint needs its text half and tokenizer, too.
    """

    def __init__(self, path: str = CLIPOptions.path, **options: Any) -> None:
        super().__init__(path, **options)
        text, self._tokenizer = _load_text(self._folder)
        self._text = text.eval().to(self.device)
        self.id = self.id.replace("clip-", f"clip-alignment-{fingerprint(text.state_dict())[:8]}-")

    def to(self, device: str) -> CLIPAlignment:
        super().to(device)
        self._text = self._text.to(self.device)
        return self

    @torch.inference_mode()
    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """What is beyond the text half's limit of words has no effect."""
        starts = range(0, len(prompts), self._max_batch)
        parts = [self._embed_prompts(list(prompts[start : start + self._max_batch])) for start in starts]
        return torch.cat(parts) if parts else torch.zeros(0, self.dimensions, device=self.device)

    def _embed_prompts(self, prompts: list[str]) -> Tensor:
        longest = self._text.config.max_position_embeddings
        # Always padded to the same length: a longer prompt in the batch would round the others' embeddings differently.
        padding = {"padding": "max_length", "truncation": True, "max_length": longest}
        tokens = self._tokenizer(prompts, **padding, return_tensors="pt").to(self.device)
        with self._autocast():
            features = self._text(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).text_embeds
        return nn.functional.normalize(features.float(), dim=1)


def _load_text(folder: Path) -> tuple[Any, Any]:
    # transformers would go on with an empty vocabulary.
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise CheckpointError(f"{folder} can't read prompts: it has no {' and no '.join(_TOKENIZERS)}. {_TEXT_ADVICE}")
    with quiet():
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder} can't read prompts: {reason(error)}. {_TEXT_ADVICE}") from error
        return load_network(CLIPTextModelWithProjection, folder, "CLIP"), tokenizer
