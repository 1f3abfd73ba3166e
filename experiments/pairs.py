"""Every pair of user and mechanism on the same tasks, batch by batch, so that mechanisms share what they make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import track

from experiments.runs import env_options, stop
from experiments.specs import parse, slug
from steer_env.distributions import load_distribution
from steer_env.distributions.hypotheses import Hypotheses
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.collectors import Batch
from steer_env.evaluation.suites import Player, evaluation_seed
from steer_env.humans import load_human
from steer_env.metrics import load_metric
from steer_env.policies import Policy
from steer_env.traces import SteeringTrace, read_traces, write_traces

Pair = tuple[str, str]
"""User, mechanism."""


def make_players(config: Any, env: ImageSteeringVectorEnv) -> dict[Pair, Player]:
    """Who plays each pair; mechanisms that want pools of images for the same episodes share them.

    Raises:
        ValueError: an unknown mechanism, user or option.
    """
    generator, metric = env.dynamics.generator, env.dynamics.metric
    told = {spec: parse(spec) for spec in config.mechanisms}
    metrics = {
        spec: load_metric(options.pop("metric")) if "metric" in options else metric
        for spec, (_, options) in told.items()
    }
    shared = Hypotheses(generator, list(metrics.values()), kept=config.tasks_per_batch)
    players = {}
    for user in config.users:
        human, human_options = parse(user)
        for spec, (name, options) in told.items():
            pools = {"hypotheses": shared} if name == "bayesian" else {}
            parts = {
                "human": load_human(human, **human_options),
                "distribution": load_distribution(name, generator, metrics[spec], **options, **pools),
            }
            players[user, spec] = Player(**{**env_options(config), **parts})
    return players


def play_pairs(
    players: Mapping[Pair, Player], policy: Policy, tasks: int, tasks_per_batch: int, folder: Path
) -> dict[Pair, list[SteeringTrace]]:
    """Play the first tasks of the suite with every pair, or go on where an earlier call in this folder was stopped.

    Raises:
        SystemExit: after a Ctrl-C.
    """
    places = {(user, mechanism): folder / "traces" / slug(user) / slug(mechanism) for user, mechanism in players}
    try:
        for start in track(range(0, tasks, tasks_per_batch), f"{len(players)} pairs of user and mechanism"):
            part = list(range(start, min(start + tasks_per_batch, tasks)))
            batch = Batch([policy], part, [evaluation_seed(task) for task in part])
            for pair, player in players.items():
                path = places[pair] / f"{start:08d}.parquet"
                if not path.is_file():
                    write_traces(player(batch), path)
    except KeyboardInterrupt:
        stop(folder)
    return {pair: read_traces(place) for pair, place in places.items()}
