"""CLIP's cosine between an image and its prompt, through transformers (paper, Figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steer_env.compatibility import quiet
from steer_env.fingerprints import fingerprint
from steer_env.metrics.checkpoints import CheckpointError, reason
from steer_env.metrics.clip import CLIPMetric, clip_folder, load_half
from steer_env.metrics.options import CLIPOptions

_TOKENIZERS = ("tokenizer.json", "vocab.json")
_ADVICE = "Prompts need a whole CLIP checkpoint as transformers' save_pretrained writes it, tokenizer included"


class CLIPAlignment(CLIPMetric):
    """How well an image shows what its prompt says: an :class:`steer_env.types.Alignment`.

    It is CLIPScore (Hessel et al., 2021) before scaling: the cosine of the two embeddings, mostly 0 to 0.4. Arguments
    and errors are those of :class:`CLIPMetric`; the checkpoint needs its text half and tokenizer, too.
    """

    def __init__(self, path: str = CLIPOptions.path, **options: Any) -> None:
        super().__init__(path, **options)
        text, self._tokenizer = _load(clip_folder(path))
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
        # Always padded to the same length: another one in a batch would round a prompt's embedding otherwise.
        padding = {"padding": "max_length", "truncation": True, "max_length": longest}
        tokens = self._tokenizer(prompts, **padding, return_tensors="pt").to(self.device)
        with self._autocast():
            features = self._text(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).text_embeds
        return nn.functional.normalize(features.float(), dim=1)


def _load(folder: Path) -> tuple[Any, Any]:
    # transformers would go on with an empty vocabulary.
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise CheckpointError(f"{folder} can't read prompts: it has no {' and no '.join(_TOKENIZERS)}. {_ADVICE}")
    with quiet():
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder} can't read prompts: {reason(error)}. {_ADVICE}") from error
        return load_half(CLIPTextModelWithProjection, folder), tokenizer
