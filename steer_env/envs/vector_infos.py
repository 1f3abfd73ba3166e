"""Gymnasium's vector infos: a dict of arrays with N rows, each with a mask ``_key`` of the rows that have it."""

from __future__ import annotations

from typing import Any

import numpy as np

from steer_env.dynamics import SteeringDynamics
from steer_env.types import DirectedMechanism, RoundOutcome


def spread(rows: np.ndarray, values: dict[str, np.ndarray], n: int) -> dict[str, Any]:
    """Values of some rows, (len(rows), …), as vector infos of n rows."""
    infos: dict[str, Any] = {}
    present = np.zeros(n, dtype=bool)
    present[rows] = True
    for name, part in values.items():
        infos[name] = np.zeros((n, *part.shape[1:]), dtype=part.dtype)
        infos[name][rows] = part
        infos[f"_{name}"] = present.copy()
    return infos


def of_start(dynamics: SteeringDynamics, rows: np.ndarray, choosing: bool) -> dict[str, np.ndarray]:
    """What the infos of episodes that have just begun hold, each (n, …), under the same names as those of a round.

    They are those of a round at scale 0, in which everything offered is the first image.

    Args:
        dynamics: of the episodes.
        rows: int64 (n,), their places in the batch.
        choosing: whether users choose among images.
    """
    none, similarity = np.zeros(len(rows)), dynamics.similarity[rows]
    directed = isinstance(dynamics.mechanism, DirectedMechanism)
    scales, decided = (none if choosing and directed == decides else None for decides in (False, True))
    offered = np.repeat(similarity[:, None], 1 + dynamics.num_proposals, axis=1)
    outcome = RoundOutcome(
        *(rows, none, offered, none.astype(np.int64), similarity),
        scales=scales,
        decided=decided,
        judged=dynamics.judged(rows),
    )
    return of_round(dynamics, outcome)


def of_round(dynamics: SteeringDynamics, outcome: RoundOutcome) -> dict[str, np.ndarray]:
    """What the infos of a round hold, each (n, …)."""
    rows, tasks = outcome.rows, [dynamics.tasks[row] for row in outcome.rows]
    acted = {"mixture_scale": outcome.scales, "decided": outcome.decided}
    image_steering = {name: values for name, values in acted.items() if values is not None}
    if image_steering:
        image_steering["choice"] = outcome.choices
    return {
        "task_index": np.array([task.index for task in tasks if task]),
        "episode_seed": np.array([dynamics.seeds[row] for row in rows]),
        "similarity": outcome.similarity,
        "similarities": outcome.similarities,
        "improvement": outcome.similarity - dynamics.initial_similarity[rows],
        **image_steering,
        **{f"similarity/{name}": values for name, values in outcome.judged.items()},
    }


def merge(infos: dict[str, Any], fresh: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Infos with the given rows' entries taken from ``fresh``."""
    merged = dict(infos)
    for name, values in fresh.items():
        if name in infos:
            merged[name] = infos[name].copy()
            merged[name][rows] = values[rows]
        else:
            merged[name] = values
    return merged


def of_rows(infos: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Infos with their masks narrowed to some rows, bool (N,); what no row has left is left out."""
    present = {name for name in infos if not name.startswith("_") and (infos[f"_{name}"] & rows).any()}
    return {name: infos[name] for name in present} | {f"_{name}": infos[f"_{name}"] & rows for name in present}


def first(infos: dict[str, Any]) -> dict[str, Any]:
    """The only environment's info: Python numbers, or arrays."""
    return {
        name: values[0].item() if values[0].ndim == 0 else values[0]
        for name, values in infos.items()
        if not name.startswith("_")
    }
