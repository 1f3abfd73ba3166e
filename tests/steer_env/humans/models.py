"""Tiny language models with random weights, in the formats that transformers saves and reads."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<s>", "</s>", "<unk>", "<pad>", *(f"word{i}" for i in range(40)), "red", "stars", "rain", "dark", ":"]
SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def save_tokenizer(place: Path, framed: bool = False, **options: Any) -> None:
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if framed:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **special, **options).save_pretrained(place)


def causal_folder(place: Path) -> Path:
    """A causal model that writes words."""
    save_tokenizer(place)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(WORDS), **SIZES, bos_token_id=0, eos_token_id=1)
    LlamaForCausalLM(config).save_pretrained(place)
    return place


def encoder_folder(place: Path, seed: int = 0, pooling: str = "mean_tokens") -> Path:
    """A sentence encoder with sentence-transformers' own files beside it."""
    save_tokenizer(place, framed=True, model_max_length=20)
    torch.manual_seed(seed)
    BertModel(BertConfig(vocab_size=len(WORDS), **SIZES, initializer_range=0.2)).save_pretrained(place)
    modules = [
        {"idx": i, "type": f"sentence_transformers.models.{m}"} for i, m in enumerate(("Transformer", "Pooling"))
    ]
    (place / "modules.json").write_text(json.dumps(modules))
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 10}))
    (place / "1_Pooling").mkdir(exist_ok=True)
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens")}
    (place / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    return place
