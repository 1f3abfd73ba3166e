"""Every pair of user and mechanism on the same tasks, batch by batch, so that mechanisms share what they make."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.progress import track

from experiments.runs import env_options, stop
from experiments.specs import parse, slug
from steer_env.distributions import load_distribution
from steer_env.distributions.hypotheses import Hypotheses
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.suites import play_missing
from steer_env.humans import load_human
from steer_env.metrics import load_metric
from steer_env.policies import Policy
from steer_env.traces import SteeringTrace

Pair = tuple[str, str]
"""User, mechanism."""


def pair_options(config: Any, env: ImageSteeringVectorEnv) -> dict[Pair, dict[str, Any]]:
    """Each pair's environment; mechanisms that want pools of images for the same episodes share them.

    Raises:
        ValueError: an unknown mechanism, user or option.
    """
    studio, metric = env.dynamics.studio, env.dynamics.metric
    told = {spec: parse(spec) for spec in config.mechanisms}
    metrics = {
        spec: load_metric(options.pop("metric")) if "metric" in options else metric
        for spec, (_, options) in told.items()
    }
    shared = Hypotheses(studio, list(metrics.values()), kept=config.tasks_per_batch)
    options = {}
    for user in config.users:
        human, human_options = parse(user)
        for spec, (name, _) in told.items():
            pools = {"hypotheses": shared} if name == "bayesian" else {}
            parts = {
                "human": load_human(human, **human_options),
                "distribution": load_distribution(name, studio, metrics[spec], **told[spec][1], **pools),
            }
            options[user, spec] = {**env_options(config), **parts}
    return options


def play_pairs(
    pairs: Mapping[Pair, Mapping[str, Any]], policy: Policy, tasks: int, tasks_per_batch: int, folder: Path
) -> dict[Pair, list[SteeringTrace]]:
    """Play the first tasks of the suite with every pair, or go on where an earlier call in this folder was stopped.

    Raises:
        SystemExit: after a Ctrl-C.
    """
    playing = {
        (user, mechanism): play_missing(
            [policy], tasks, tasks_per_batch, folder / "traces" / slug(user) / slug(mechanism), quiet=True, **options
        )
        for (user, mechanism), options in pairs.items()
    }
    played: dict[Pair, list[SteeringTrace]] = {pair: [] for pair in pairs}
    try:
        # Batch by batch, as pools of images are kept for no longer.
        batches = zip_longest(*playing.values(), fillvalue=[])
        total = -(-tasks // tasks_per_batch)
        for batch in track(batches, f"{len(pairs)} pairs of user and mechanism", total=total):
            for pair, traces in zip(pairs, batch, strict=True):
                played[pair] += traces
    except KeyboardInterrupt:
        stop(folder)
    return played
