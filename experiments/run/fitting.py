"""The loop that every stage of pre-training shares: AdamW, one-cycle cosine, weight averaging, bfloat16 autocast."""

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
