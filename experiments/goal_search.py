"""Searching for the closest image that a generator with few random seeds can make of another generator's goals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from experiments.playing import check_tasks
from experiments.runs import stop
from pretraining.drawn import DrawnTiles
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.envs.shell import FIRST_SEED
from steer_env.evaluation.producibility import closest, goals, search_stream, variations
from steer_env.generators import load_generator
from steer_env.imaging.studio import LocalStudio
from steer_env.prompters import BlindPrompter
from steer_env.types import Prompter


def check_search(config: Any, user: Any, options: dict[str, Any]) -> ImageSteeringVectorEnv:
    """An environment, whose parts and suite are the searcher's too; nothing has been worked on yet.

    Raises:
        ValueError: an option out of range, or a user who doesn't write prompts.
    """
    if not isinstance(user, Prompter):
        raise ValueError(f"user must be someone who writes prompts, such as text:attribute, not {config.user}")
    for name in ("variations", "tries", "goals"):
        if config[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {config[name]}")
    if not config.seeds or min(config.seeds) < 0 or len(set(config.seeds)) < len(config.seeds):
        raise ValueError(f"seeds must be different numbers from 1, or 0 for all, got {list(config.seeds)}")
    check_tasks(config.tasks, **options)
    return check_tasks(config.goals, **options)


def search(config: Any, env: ImageSteeringVectorEnv, folder: Path) -> tuple[str, Mapping[int, np.ndarray]]:
    """Who made the goals, and for each number of seeds the similarity of the closest image to each, float (G,)."""
    studio, tasks = env.dynamics.studio, env.suite[: config.goals]
    shapes = (studio.generator.image_shape, studio.generator.latent_shape)
    maker = DrawnTiles(*shapes) if config.drawn else load_generator(config.env.generator, **config.goal_options)
    wanted, prompts = (
        goals(LocalStudio(maker, studio.metric), tasks),
        variations(BlindPrompter(), tasks, config.variations),
    )
    produced: dict[int, np.ndarray] = {}
    try:
        for n in config.seeds:
            given = [FIRST_SEED + i for i in range(n)] or None
            search = zip(wanted, prompts, tasks, strict=True)
            produced[n] = np.array(
                [
                    closest(studio, goal, rows, given, config.tries, search_stream(n, task))
                    for goal, rows, task in track(search, f"searching with {n or 'all'} seeds", total=len(tasks))
                ]
            )
    except KeyboardInterrupt:
        stop(folder)
    return maker.id, produced
