"""Frozen features of the episodes of one evaluation: its goals and its users' prompts, embedded by its own parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from steer_env.generators import load_generator
from steer_env.metrics import load_metric
from steer_env.pictures import picture
from steer_env.proposals import draw_latents
from steer_env.traces import SteeringTrace


def embed_episodes(folder: Path, traces: Sequence[SteeringTrace]) -> tuple[np.ndarray, np.ndarray]:
    """Goal images by the evaluation's metric (N, D), prompts by its generator's text encoder, averaged (N, W)."""
    env: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml").env)
    generator = load_generator(env["generator"], **env["generator_options"])
    metric = load_metric(env["metric"], **env["metric_options"])
    latents = draw_latents([trace.goal_seed for trace in traces], generator.latent_shape).to(generator.device)
    goals = generator.encode([trace.goal_prompt for trace in traces])
    embedded, _ = picture(generator, {"goal": metric}, latents, goals, "embedding goals")
    prompts = generator.encode([trace.prompt for trace in traces])["prompt_embeds"].mean(dim=1)
    return embedded["goal"].cpu().double().numpy(), prompts.cpu().double().numpy()


def name_generator(folder: Path, traces: Sequence[SteeringTrace]) -> str:
    """The generator's id in the traces, and the options it was run with, which the id leaves out."""
    options: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml").env.generator_options)
    return " ".join([traces[0].generator, *(f"{key}={value}" for key, value in sorted(options.items()))])


def principal(values: np.ndarray, components: int) -> np.ndarray:
    """Float (N, D) → (N, min(D, components)), its leading principal components."""
    centred = values - values.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return (left * sizes)[:, :components]
