"""A causal language model on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from steer_env.compatibility import mend_torchvision
from steer_env.devices import resolve_device, resolve_dtype
from steer_env.humans.options import LocalOptions
from steer_env.humans.writers import Request, WriterError


class LocalModel:
    """Any causal language model that transformers reads, through its chat template if it has one.

    Answers are drawn one at a time, so that each depends on its own request alone.

    Args:
        path, **options: see :class:`steer_env.humans.options.LocalOptions`.

    Raises:
        WriterError: weights that can't be had or read.
        ValueError: a number out of range.
    """

    def __init__(self, path: str, **options: Any) -> None:
        chosen = LocalOptions(path, **options)
        temperature, longest = chosen.temperature, chosen.max_tokens
        self.id = path.rstrip("/").rpartition("/")[2]
        device = resolve_device(chosen.device)
        self._tokenizer, model = _load(str(Path(path).expanduser()), resolve_dtype(chosen.dtype, device))
        self._model = model.eval().to(device)
        self._drawing: dict[str, Any] = {"max_new_tokens": longest, "do_sample": temperature > 0}
        if temperature > 0:
            self._drawing["temperature"] = temperature

    @torch.inference_mode()
    def write(self, requests: Sequence[Request]) -> list[str]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> str:
        inputs = self._tokenizer(self._text(request), return_tensors="pt", add_special_tokens=not self._chats)
        inputs = {name: inputs[name].to(self._model.device) for name in ("input_ids", "attention_mask")}
        with torch.random.fork_rng():
            torch.manual_seed(request.seed)
            tokens = self._model.generate(**inputs, **self._drawing, pad_token_id=self._tokenizer.eos_token_id or 0)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(new, skip_special_tokens=True))

    @property
    def _chats(self) -> bool:
        return bool(self._tokenizer.chat_template)

    def _text(self, request: Request) -> str:
        if not self._chats:
            return "\n\n".join(filter(None, [request.instructions, request.question, request.cue]))
        return str(self._tokenizer.apply_chat_template(request.messages, tokenize=False, add_generation_prompt=True))


def _load(path: str, dtype: torch.dtype) -> tuple[Any, Any]:
    mend_torchvision()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        options = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
        model, report = AutoModelForCausalLM.from_pretrained(path, **options, output_loading_info=True)
        if report["missing_keys"]:
            raise ValueError(f"it lacks {sorted(report['missing_keys'])[0]}: random weights would take its place")
        return tokenizer, model
    except Exception as error:
        raise WriterError(
            f"{path} can't be loaded as a causal language model: give a folder with its tokenizer, configuration and "
            f"safetensors, fetched where there is a network by `hf download ID --local-dir FOLDER` "
            f"({str(error).strip()[:300]})"
        ) from error
