"""The loop that every stage of pre-training shares: AdamW, one-cycle cosine, weight averaging, bfloat16 autocast."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@dataclass
class Budget:
    """How long and how fast one stage learns.

    Args:
        steps: optimiser steps.
        batch_size: examples a step.
        learning_rate: peak of the schedule: linear warm-up over 2 %, then a cosine to zero.
        ema_decay: decay of the averaged weights that the stage returns.
        weight_decay: AdamW's.
        bfloat16: compute in bfloat16 where autocast allows it; weights stay float32.
    """

    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-3
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    bfloat16: bool = True


def fit(model: nn.Module, loss: Callable[[int], Tensor], budget: Budget, title: str) -> nn.Module:
    """Minimise ``loss(step)`` over the model's parameters.

    Returns:
        The model itself, holding the averaged weights, in evaluation mode.

    Raises:
        FloatingPointError: a loss that isn't finite, with its step.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    optimiser = torch.optim.AdamW(parameters, lr=budget.learning_rate, weight_decay=budget.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _pace(step, budget.steps))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(budget.ema_decay), use_buffers=True)
    model.train()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
    )
    recent = math.nan
    with Progress(*columns) as progress:
        bar = progress.add_task(title, total=budget.steps, loss=recent)
        for step in range(budget.steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=budget.bfloat16):
                value = loss(step)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
            if step % 50 == 0:
                current = value.item()
                if not math.isfinite(current):
                    raise FloatingPointError(f"{title}: the loss is {current} at step {step}; lower learning_rate")
                recent = current
                progress.update(bar, loss=recent)
                if not progress.console.is_terminal and step % 500 == 0:
                    print(f"{title}: step {step}, loss {recent:.5f}", flush=True)
            progress.advance(bar)
    print(f"{title}: {budget.steps} steps of {budget.batch_size}, last loss {recent:.5f}", flush=True)
    model.load_state_dict(average.module.state_dict())
    return model.eval()


def _pace(step: int, steps: int) -> float:
    warm_up = max(1, steps // 50)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
