"""How much of a user's improvement is luck: blind steering with k attempts (paper, Section 3 and C.1, Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.statistics import table
from steer_env.evaluation.uncertainty import estimate, ratio


def shares(frame: pd.DataFrame, user: str, blind: str, attempts: Sequence[int]) -> pd.DataFrame:
    """The share of a user's improvement that blind attempts reach.

    Improvement is C.1's: of the best image over the first, never below zero. The first k attempts of a blind episode
    stand for an episode of k.

    Args:
        frame: from :func:`steer_env.traces.traces_to_frame`, both on the same tasks.
        user: policy that saw the goal.
        blind: policy that never did.
        attempts: numbers k of blind attempts.

    Returns:
        One row a k, columns ``attempts``, ``share``, ``improvement`` and ``one`` (mean change of a single blind
        attempt, which no choice of the best flatters): all but the first as
        :class:`~steer_env.evaluation.uncertainty.Estimate`.

    Raises:
        ValueError: different tasks, a policy with several training seeds, or a k that wasn't played.
    """
    whole, tasks = _similarities(frame, user)
    luck, played = _similarities(frame, blind)
    if not np.array_equal(tasks, played):
        raise ValueError(f"{user!r} and {blind!r} were played on different tasks: evaluate them with the same tasks=")
    longest = luck.shape[1] - 1
    wrong = [k for k in attempts if not 1 <= k <= longest]
    if wrong or not attempts:
        raise ValueError(f"{blind!r} was played with {longest} attempts, there are none for {wrong}: env.rounds=")
    reached = _best(whole)
    rows = []
    for k in attempts:
        found, change = _best(luck[:, : k + 1]), luck[:, 1 : k + 1] - luck[:, :1]
        rows.append((k, ratio(found, reached), estimate(found), estimate(change.mean(axis=1))))
    return pd.DataFrame(rows, columns=["attempts", "share", "improvement", "one"])


def lottery_report(frame: pd.DataFrame, user: str, blind: str, attempts: Sequence[int]) -> Report:
    """Figure 3 (right) as a page: see :func:`shares`."""
    found = shares(frame, user, blind, attempts)
    similarities, tasks = _similarities(frame, user)
    reached = estimate(_best(similarities))
    first = frame.iloc[0]
    lead = (
        f"What “{blind}” reaches without seeing the goal, beside “{user}” with {similarities.shape[1] - 1} attempts, "
        f"on {len(tasks)} tasks of {first['suite']}: generator {first['generator']}, metric {first['metric']}. "
        f"Improvement is of the best image over the first; the user's is {reached}. Standard errors over tasks "
        "in parentheses, the share's by the delta method."
    )
    shown = pd.DataFrame(
        {
            "blind attempts": found["attempts"],
            "share of the user's improvement": found["share"].map("{:.3f}".format),
            "improvement": found["improvement"].map(str),
            "change of a single attempt": found["one"].map(str),
        }
    )
    section = Section(
        "Blind attempts (Figure 3)",
        "A share near 1 says that trying as often, without looking, does as well.",
        [shown],
        [plots.lottery(found)],
    )
    return Report(f"How much of “{user}” is luck?", lead, [section])


def _similarities(frame: pd.DataFrame, policy: str) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of every attempt, the first image's included, float (T, 1 + k), and the tasks (T,)."""
    table(frame, policy)
    rows = frame[frame["policy"] == policy].sort_values("task_index")
    if rows["training_seed"].nunique() > 1:
        raise ValueError(f"{policy!r} was trained with several seeds: give one of them")
    return np.array(rows["similarities"].tolist()), rows["task_index"].to_numpy()


def _best(similarities: np.ndarray) -> np.ndarray:
    return similarities.max(axis=1) - similarities[:, 0]
