"""The caption side of the generator: a word-level tokenizer and a small CLIP text model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from steer_env.tiles import tilings

MAX_WORDS = 20
"""Length that every caption is padded to, start and end included."""

_SPECIAL = ("<start>", "<end>", "<unknown>")


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; a word that no caption holds becomes ``<unknown>``."""
    words = {word: i for i, word in enumerate((*_SPECIAL, *tilings.VOCABULARY))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unknown>"))
    tokenizer.normalizer = Lowercase()
    # A hyphen belongs to its word; everything else between words only separates them.
    tokenizer.pre_tokenizer = Split(Regex(r"[^\w-]+"), behavior="removed")
    tokenizer.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
        pad_token="<end>",
        model_max_length=MAX_WORDS,
    )


def build_text_encoder(width: int, layers: int = 2) -> CLIPTextModel:
    """A CLIP text model with random weights."""
    config = CLIPTextConfig(
        vocab_size=len(_SPECIAL) + len(tilings.VOCABULARY),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_WORDS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config)


@dataclass
class CaptionWriter:
    """Writes training captions, each naming a random subset of its tiling's factors.

    Args:
        empty_rate: share of empty captions, which guidance needs.
        full_rate: share that names every factor.
        synonym_rate: how often a word is replaced by another for the same thing.
    """

    empty_rate: float = 0.1
    full_rate: float = 0.5
    synonym_rate: float = 0.25

    def write(self, factors: np.ndarray, rng: np.random.Generator) -> list[str]:
        """Describe each tiling: int (N, 8) → N captions."""
        kind = rng.random(len(factors))
        named = rng.random(factors.shape) < rng.random((len(factors), 1))
        named[kind < self.full_rate] = True
        named[kind > 1 - self.empty_rate] = False
        wording = tilings.Wording(self.synonym_rate)
        return [tilings.caption(row, subset, wording, rng) for row, subset in zip(factors, named, strict=True)]


def tokenize(tokenizer: PreTrainedTokenizerFast, captions: list[str]) -> torch.Tensor:
    """Captions → int64 (N, MAX_WORDS), padded as ``StableDiffusionPipeline`` pads."""
    batch = tokenizer(captions, padding="max_length", max_length=MAX_WORDS, truncation=True, return_tensors="pt")
    return batch.input_ids
