"""Stage 3: the student that ships: few steps and no guidance pass, by progressive distillation.

Salimans & Ho (2022), with guidance folded into the first halving as in Meng et al. (2023).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from experiments.pretrain.denoiser import Denoiser, NoisedBatches, TileLatents, build_scheduler, hasten
from experiments.pretrain.options import Budget, StudentOptions
from experiments.pretrain.text import CaptionWriter, tokenize
from experiments.pretrain.training import fit


def distil(config: StudentOptions, teacher: Denoiser, data: TileLatents, seed: int) -> Denoiser:
    """Shorten the teacher to ``config.halvings[-1]`` unguided steps."""
    guidance = config.guidance_scale
    for steps in config.halvings:
        teacher = _halve(teacher, steps, guidance, config.budget, data, seed + steps)
        guidance = 1.0
    return teacher


def _halve(teacher: Denoiser, steps: int, guidance: float, budget: Budget, data: TileLatents, seed: int) -> Denoiser:
    device = next(teacher.parameters()).device
    teacher.requires_grad_(False)
    student = copy.deepcopy(teacher).requires_grad_(True)
    hasten(student)
    # No empty captions: the student's guidance is already inside it, and prompts never need to be dropped.
    batches = NoisedBatches(data, CaptionWriter(empty_rate=0.02), budget.batch_size, seed, device)
    path = DDIMPath(2 * steps, device)
    empty = tokenize(batches.tokenizer, [""]).to(device)

    def velocity(latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        if guidance == 1:
            return teacher(latents, timesteps, tokens).float()
        both = torch.cat([tokens, empty.expand_as(tokens)])
        named, unnamed = teacher(latents.repeat(2, 1, 1, 1), timesteps.repeat(2), both).float().chunk(2)
        return unnamed + guidance * (named - unnamed)

    def loss(step: int) -> Tensor:
        rng = batches.rng(step)
        node: Tensor = torch.from_numpy(2 * rng.integers(0, steps, budget.batch_size)).to(device)
        noised, _velocity, tokens = batches.draw(path.timesteps[node].cpu(), rng)
        with torch.no_grad():
            middle = path.step(noised, velocity(noised, path.timesteps[node], tokens), node, node + 1)
            end = path.step(middle, velocity(middle, path.timesteps[node + 1], tokens), node + 1, node + 2)
            target = path.velocity_between(noised, end, node, node + 2)
        return nn.functional.mse_loss(student(noised, path.timesteps[node], tokens).float(), target)

    fit(student, loss, budget, f"student of {steps} steps")
    return student


class DDIMPath:
    """The deterministic DDIM trajectory on a grid of ``steps`` trailing times; node ``steps`` is the clean end."""

    def __init__(self, steps: int, device: torch.device) -> None:
        scheduler = build_scheduler()
        scheduler.set_timesteps(steps)
        self.timesteps = scheduler.timesteps.to(device)
        alphas = torch.cat([scheduler.alphas_cumprod[scheduler.timesteps], torch.ones(1)]).to(device)
        self.signal, self.spread = alphas.sqrt(), (1 - alphas).sqrt()

    def step(self, latents: Tensor, velocity: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Move from node ``start`` to node ``end``, each int (B,)."""
        signal, spread = self._at(start)
        clean, noise = signal * latents - spread * velocity, spread * latents + signal * velocity
        signal, spread = self._at(end)
        return signal * clean + spread * noise

    def velocity_between(self, latents: Tensor, target: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """The velocity at ``start`` that carries ``latents`` to ``target`` at ``end`` in one step."""
        (a0, s0), (a1, s1) = self._at(start), self._at(end)
        return (target - (a1 * a0 + s1 * s0) * latents) / (s1 * a0 - a1 * s0)

    def _at(self, node: Tensor) -> tuple[Tensor, Tensor]:
        return self.signal[node][:, None, None, None], self.spread[node][:, None, None, None]
