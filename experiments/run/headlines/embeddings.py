"""Similarity of texts, by a sentence encoder as transformers loads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steer_env.compatibility import mend_torchvision, quiet
from steer_env.fingerprints import fingerprint
from steer_env.metrics.checkpoints import CheckpointError, checkpoint_folder, reason

_ADVICE = (
    "A sentence encoder is a folder with config.json, model.safetensors and its tokenizer, such as "
    "sentence-transformers/all-MiniLM-L6-v2, fetched where there is a network by `hf download ID --local-dir FOLDER`; "
    "name it with metric.path"
)
_UNUSED = "pooler."
_MOST_TOKENS = 8192
"""Where a checkpoint says nothing of it."""
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


class SentenceMetric:
    """Cosine of the mean of an encoder's token embeddings, as sentence-transformers' all-MiniLM models are used.

    Texts are embedded one at a time: an embedding then depends on its text alone, to the last digit, so that an
    episode of users who see similarities doesn't depend on its neighbours. Texts that are too long are cut.

    Args:
        path: a local folder, or a hub id. Only safetensors are read, and no code that comes with them is run.
        device: where it runs.

    Raises:
        CheckpointError: a hub that can't be reached, a checkpoint that is missing or damaged, or one whose own files
            say that its sentences are made otherwise.
    """

    def __init__(self, path: str, device: str = "cpu") -> None:
        folder = checkpoint_folder(path, ["*.json", "*.txt", "*.safetensors", "*.model"], _ADVICE)
        _check_modules(folder)
        self._tokenizer, model = _load(folder)
        self.dimensions: int = model.config.hidden_size
        weights = {name: value for name, value in model.state_dict().items() if not name.startswith(_UNUSED)}
        self.id = f"sentences-{fingerprint(weights)[:8]}"
        self._longest = _longest(folder, self._tokenizer, model)
        self._model = model.eval().to(device)
        try:
            self.embed(["A headline"])
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{folder} can't be run as an encoder: {reason(error)}. {_ADVICE}") from error

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts (B) → unit vectors float32 (B, dimensions); zeros for a text without a token, similar to none."""
        return torch.cat([self._embed(text) for text in texts])

    def _embed(self, text: str) -> Tensor:
        if not self._tokenizer.tokenize(text):
            return torch.zeros(1, self.dimensions)
        inputs = self._tokenizer(text, return_tensors="pt", truncation=True, max_length=self._longest)
        inputs = {name: inputs[name].to(self._model.device) for name in ("input_ids", "attention_mask")}
        # One text has no padding, so the mean over its attention mask is the mean over all of its tokens.
        mean = self._model(**inputs).last_hidden_state.float().mean(dim=1)
        return nn.functional.normalize(mean, dim=1).cpu()


def _check_modules(folder: Path) -> None:
    """Do the files of sentence-transformers, if they are there, say what this metric does?"""
    modules = [str(module["type"]).rpartition(".")[2] for module in _json(folder / "modules.json") or []]
    if other := [name for name in modules if name not in _KNOWN_MODULES]:
        raise CheckpointError(f"{folder} makes sentences with a module {other[0]} of its own. {_ADVICE}")
    pooling = _json(folder / "1_Pooling" / "config.json") or {}
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on]
    if modes not in ([], ["pooling_mode_mean_tokens"]):
        raise CheckpointError(f"{folder} pools by {', '.join(modes)}, this metric by the mean of tokens. {_ADVICE}")


def _load(folder: Path) -> tuple[Any, Any]:
    mend_torchvision()
    with quiet():
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model, report = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise CheckpointError(f"{folder} can't be loaded as an encoder: {reason(error)}. {_ADVICE}") from error
    # transformers would go on with random weights in their place.
    if missing := sorted(name for name in report["missing_keys"] if not name.startswith(_UNUSED)):
        raise CheckpointError(f"{folder} lacks {missing[0]} and {len(missing) - 1} other weights. {_ADVICE}")
    return tokenizer, model


def _longest(folder: Path, tokenizer: Any, model: Any) -> int:
    """Tokens that a text may have; the shortest of what the checkpoint's files say."""
    own = (_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    limits = [own, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None), _MOST_TOKENS]
    return min(int(limit) for limit in limits if limit)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
