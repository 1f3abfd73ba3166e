"""Steering mechanisms beside each other: what each gains for each kind of user, and what it costs in images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from steer_env.evaluation import statistics
from steer_env.evaluation.reports import Report, Section, count
from steer_env.evaluation.uncertainty import UNKNOWN, estimate, ratio
from steer_env.traces import SteeringTrace, traces_to_frame

Played = Mapping[tuple[str, str], Sequence[SteeringTrace]]
"""By user and mechanism, the traces of one policy on the same tasks with the same noise."""


def mechanisms_report(played: Played, lead: str) -> Report:
    """A table for each kind of user; the first mechanism is the one that the others are compared with.

    Args:
        played: what was played.
        lead: with what, in a sentence.
    """
    users = dict.fromkeys(user for user, _ in played)
    found = {
        user: {mechanism: traces for (whose, mechanism), traces in played.items() if whose == user} for user in users
    }
    return Report("Steering mechanisms", lead, [_section(user, traces) for user, traces in found.items()])


def _section(user: str, played: Mapping[str, Sequence[SteeringTrace]]) -> Section:
    first, *_ = played
    base = _gains(played[first])
    rows = []
    for name, traces in played.items():
        gains, frame = _gains(traces), traces_to_frame(traces)
        judges, (images,) = statistics.judged_changes(frame), statistics.images(frame)
        seen = [estimate(judges[column].to_numpy()) for column in judges]
        compared = (UNKNOWN,) * 3 if name == first else _compared(gains, base)
        change = estimate(gains), f"{estimate(gains > 0):.1%}"
        rows.append((name, count(images), *change, *compared, *seen))
    columns = ["mechanism", "images", "avg. change", "% improved", f"minus {first}", "p", "gain", *judges]
    text = (
        f"Images: made in an episode, goal and first image among them. Gain: how much more than {first}, with its 95 % "
    )
    text += "interval."
    return Section(f"User: {user}", text, [pd.DataFrame(rows, columns=columns)])


def _gains(traces: Sequence[SteeringTrace]) -> np.ndarray:
    return np.array([trace.improvement for trace in sorted(traces, key=lambda trace: trace.task_index)])


def _compared(gains: np.ndarray, base: np.ndarray) -> tuple[str, str, str]:
    """Paired difference, its p-value, and the ratio of means less one."""
    difference = estimate(gains - base)
    more = UNKNOWN
    if base.mean() > 0:
        times = ratio(gains, base)
        more = f"{replace(times, value=times.value - 1).interval():+.0%}"
    return str(difference), f"{difference.p_value:.2g}", more
