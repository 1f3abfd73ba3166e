"""What is shared by all that is trained here for the shipped assets.

The loop: AdamW, one-cycle cosine, weight averaging, bfloat16 autocast; and for networks that learn the embeddings of
images before these are made, their examples, loss, and a measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TextColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import get_cosine_schedule_with_warmup

from experiments.run.options import Budget
from steer_env.files import reading, write_atomically
from steer_env.types import Conditioning

_AT_A_TIME = 32
SNAPSHOT_EVERY = 1000
"""Steps between snapshots."""


def fit(
    model: nn.Module, loss: Callable[[int], Tensor], budget: Budget, title: str, snapshot: Path | None = None
) -> nn.Module:
    """Minimise ``loss(step)``, a mean over the step's examples, over the model's parameters, in place.

    With a snapshot, a file that is written every ``SNAPSHOT_EVERY`` steps and removed at the end, an interrupted call
    goes on from there; the examples must then depend on the step's number alone.

    Returns:
        The model itself, holding the averaged weights, in evaluation mode.

    Raises:
        FloatingPointError: a loss that isn't finite, with its step.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    optimiser = torch.optim.AdamW(parameters, lr=budget.learning_rate, weight_decay=budget.weight_decay, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimiser, budget.steps // 50, budget.steps)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(budget.ema_decay), use_buffers=True)
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule, "average": average}
    first = _resume(parts, snapshot)
    model.train()
    recent = math.nan
    with Progress(*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]:.4f}")) as progress:
        bar = progress.add_task(title, total=budget.steps, completed=first, loss=recent)
        for step in range(first, budget.steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=budget.bfloat16):
                value = loss(step)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
            if snapshot and (step + 1) % SNAPSHOT_EVERY == 0:
                _save(parts, step + 1, snapshot)
            if step % 50 == 0:
                recent = value.item()
                if not math.isfinite(recent):
                    raise FloatingPointError(f"{title}: the loss is {recent} at step {step}; lower learning_rate")
                progress.update(bar, loss=recent)
                if not progress.console.is_terminal and step % 500 == 0:
                    print(f"{title}: step {step}, loss {recent:.5f}", flush=True)
            progress.advance(bar)
    print(f"{title}: {budget.steps} steps of {budget.batch_size}, last loss {recent:.5f}", flush=True)
    model.load_state_dict(average.module.state_dict())
    if snapshot:
        snapshot.unlink(missing_ok=True)
    return model.eval()


def _save(parts: Mapping[str, Any], steps: int, snapshot: Path) -> None:
    state = {name: part.state_dict() for name, part in parts.items()} | {"steps": steps}
    write_atomically(snapshot, lambda file: torch.save(state, file))


def _resume(parts: Mapping[str, Any], snapshot: Path | None) -> int:
    """Load a snapshot, if there is one; returns the number of steps done."""
    if snapshot is None or not snapshot.is_file():
        return 0
    with reading(snapshot):
        states = torch.load(snapshot, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(states[name])
        return int(states["steps"])


@torch.inference_mode()
def in_parts(
    make: Callable[[Tensor, Conditioning], tuple[Tensor, ...]],
    latents: Tensor,
    conditioning: Conditioning,
    device: torch.device,
) -> list[Tensor]:
    """What is made of latents (N, …) and their conditioning, a few at a time, in bfloat16: float16 tensors (N, …)."""
    parts = [slice(start, start + _AT_A_TIME) for start in range(0, len(latents), _AT_A_TIME)]
    with torch.autocast(device.type, torch.bfloat16):
        made = [make(latents[part].to(device), {k: v[part] for k, v in conditioning.items()}) for part in parts]
    return [torch.cat([each.float().cpu() for each in values]).half() for values in zip(*made, strict=True)]


def embedding_loss(expected: Tensor, true: Tensor, likeness: float) -> Tensor:
    """Squared error of embeddings (M, n, D) of M prompts, and likeness times that of similarities within a prompt."""
    alike = nn.functional.mse_loss(expected @ true.mT, true @ true.mT)
    return (expected - true).square().sum(dim=2).mean() + likeness * alike


def alikeness(expected: Tensor, true: Tensor) -> float:
    """Correlation, within prompts, of an expected embedding's similarity to another image with that of the two images.

    Args:
        expected, true: float (M, n, D), of n images of each of M prompts.
    """
    pairs = torch.triu_indices(true.shape[1], true.shape[1], 1)

    def centred(group: Tensor) -> Tensor:
        """Similarities to the true embeddings of the same prompt, less their mean over the prompt's pairs."""
        alike = (group @ true.mT)[:, pairs[0], pairs[1]]
        return (alike - alike.mean(dim=1, keepdim=True)).flatten()

    return float(torch.cosine_similarity(centred(expected), centred(true), dim=0))
