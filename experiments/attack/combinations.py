"""Combinations of parts: each runs in miniature, or is refused in one line before anything is made."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from experiments.attack.kills import SHORT
from experiments.attack.workers import ran
from experiments.run.options import PARTS, choices
from steer_env import assets
from steer_env.mechanisms import ACTIONS

_EMBEDDED = f"path={assets.ROOT / 'tiles-generator'}"
_SMALL: dict[str, Any] = {
    "generator": {
        **dict.fromkeys(("stable-diffusion", "stable-diffusion-xl", "diffusers"), (_EMBEDDED, "steps=1")),
        "endpoint": ("model=none", "base_url=http://127.0.0.1:9"),
    },
    "metric": {
        **dict.fromkeys(("clip", "clip-alignment", "dino", "lpips"), ("path=/nowhere",)),
        "dreamsim": ("type=clip_vitb32", "cache_dir=/nowhere"),
    },
    "mechanism": {**dict.fromkeys(("bayesian", "learned", "feedback"), ("pool=4",)), "qeubo": ("candidates=4",)},
}
"""What a choice needs, or what makes it quick."""
_ELSEWHERE = "ray"
"""A studio that starts processes of its own, for which tests/cluster are."""
_SEEN = ("", "embedding", "latent", "conditioning", "history", "image")


def combinations() -> list[tuple[str, list[str]]]:
    """Every command line: evaluations by all that an environment consists of; trainings by what agents see and do."""
    groups = ("generator", "metric", "human", "mechanism", "studio")
    parts = [[f"{group}={name}" for name in PARTS[group] if name != _ELSEWHERE] for group in groups]
    evaluated = ["policies=[random-bucket]", "tasks=2", "strips=0", "env.judges=[]", *SHORT]
    trained = ["episodes=2", "batch=2", *SHORT]
    seen = product((f"agent={name}" for name in choices("agent")), (f"env.action={name}" for name in ACTIONS), _SEEN)
    return [
        *(("evaluate", [*chosen, *_needed(chosen), *evaluated]) for chosen in product(*parts)),
        *(("train", [agent, action, f"env.observe=[{name}]", *trained]) for agent, action, name in seen),
    ]


def _needed(chosen: tuple[str, ...]) -> list[str]:
    pairs = [choice.split("=") for choice in chosen]
    return [f"{group}.{option}" for group, name in pairs for option in _SMALL.get(group, {}).get(name, ())]


def attack(folder: Path, number: int, seed: int) -> tuple[int, list[str]]:
    """Try so many of all combinations, drawn at random; all of them if there are fewer."""
    every, failures = combinations(), list[str]()
    folder.mkdir(parents=True, exist_ok=True)
    drawn = sorted(np.random.default_rng(seed).permutation(len(every))[:number].tolist())
    for place in drawn:
        command, options = every[place]
        run = folder / f"run-{place}"
        outcome = ran(command, [f"folder={run}", *options], folder / f"log-{place}")
        made = (run / "result.json").is_file() if outcome.status == 0 else not run.exists()
        if not made or not (outcome.refusal or outcome.status == 0):
            failures.append(f"{command} {' '.join(options[:5])}: {outcome}{'' if made else ', by its folder'}")
    return len(drawn), failures
