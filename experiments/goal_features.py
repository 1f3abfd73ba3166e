"""Finished evaluations with other generators, and frozen features of what was asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from experiments.runs import CONFIG
from steer_env.generators import load_generator
from steer_env.imaging.studio import LocalStudio
from steer_env.metrics import load_metric
from steer_env.traces import SteeringTrace, check_alike, read_traces


@dataclass(frozen=True)
class Evaluated:
    """One generator's evaluation.

    Args:
        generator: its id.
        traces: N of one policy and one user.
        goals: float (N, D), goal images, embedded by the evaluation's metric.
        prompts: float (N, W), users' prompts, embedded by the generator's text encoder, averaged over tokens.
    """

    generator: str
    traces: list[SteeringTrace]
    goals: np.ndarray
    prompts: np.ndarray


def read_evaluations(folders: Sequence[str]) -> list[Evaluated]:
    """Read traces, and make and embed their goals again.

    Raises:
        FileNotFoundError: a folder without traces or configuration.
        ValueError: evaluations that differ in more than the generator, or of the same generator.
    """
    runs = [read_traces(Path(folder) / "traces") for folder in folders]
    check_alike([trace for run in runs for trace in run], ("suite", "mechanism", "human", "metric", "policy"))
    generators = [run[0].generator for run in runs]
    if len(set(generators)) < max(2, len(runs)):
        raise ValueError(f"evaluations of at least two generators, each once, are needed, got {', '.join(generators)}")
    return [_embed(Path(folder), run) for folder, run in zip(folders, runs, strict=True)]


def _embed(folder: Path, traces: list[SteeringTrace]) -> Evaluated:
    env: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG).env)
    generator = load_generator(env["generator"], **env["generator_options"])
    studio = LocalStudio(generator, load_metric(env["metric"], **env["metric_options"]))
    goals = studio.prepare([(trace.goal_prompt, trace.goal_seed) for trace in traces])
    embedded, _ = studio.picture(*goals, "embedding goals")
    prompts = generator.encode([trace.prompt for trace in traces])["prompt_embeds"].mean(dim=1)
    as_arrays = (values.cpu().double().numpy() for values in (embedded[""], prompts))
    return Evaluated(traces[0].generator, traces, *as_arrays)


def principal(values: np.ndarray, components: int) -> np.ndarray:
    """Float (N, D) → (N, min(D, components)), its leading principal components."""
    left, sizes, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    return (left * sizes)[:, :components]
