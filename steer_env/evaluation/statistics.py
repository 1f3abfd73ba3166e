"""From traces to numbers: DataFrame in, DataFrame or number out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from steer_env.evaluation.uncertainty import Estimate, estimate
from steer_env.traces import PERSON, SteeringTrace


def table(frame: pd.DataFrame, policy: str, column: str = "improvement") -> np.ndarray:
    """One policy's values as float (S, T), training seeds × tasks.

    Raises:
        ValueError: no episode of that policy, or the same episode twice.
    """
    rows = frame[frame["policy"] == policy]
    if rows.empty:
        raise ValueError(f"no episode of policy {policy!r}; there are: {', '.join(frame['policy'].unique())}")
    if rows.duplicated(["training_seed", "task_index"]).any():
        raise ValueError(f"policy {policy!r} played a task twice: join traces of one evaluation only")
    return rows.pivot(index="training_seed", columns="task_index", values=column).to_numpy(dtype=float)


def summary(frame: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Table 1: one row a policy, best first.

    Args:
        frame: from :func:`steer_env.traces.traces_to_frame`.
        threshold: similarity whose reaching is counted.

    Returns:
        Index ``policy``; for each of ``change``, ``improved`` (share), ``reached`` (share), ``rounds`` (to reach the
        threshold, R + 1 where it isn't reached) and ``NAME change`` of each judge: an
        :class:`~steer_env.evaluation.uncertainty.Estimate`.
    """
    similarities = np.array(frame["similarities"].tolist())
    reached = similarities >= threshold
    changes = similarities[:, -1] - similarities[:, 0]
    measures = pd.DataFrame(
        {
            "change": changes,
            "improved": changes > 0,
            "reached": reached.any(axis=1),
            "rounds": np.where(reached.any(axis=1), reached.argmax(axis=1), similarities.shape[1]),
        },
        index=frame.index,
    ).join(judged_changes(frame))
    measured = frame[["policy", "training_seed", "task_index"]].join(measures)
    rows = {
        policy: {name: estimate(table(measured, policy, str(name))) for name in measures}
        for policy in measured["policy"].unique()
    }
    result = pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")
    return result.loc[sorted(rows, key=lambda policy: -rows[policy]["change"].value)]


def judged_changes(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an episode, one column ``NAME change`` for each metric that nothing was trained on."""
    columns = {}
    for judge in frame["judged"].iloc[0]:
        values = np.array([row[judge] for row in frame["judged"]])
        columns[f"{judge} change"] = values[:, -1] - values[:, 0]
    return pd.DataFrame(columns, index=frame.index)


def cost(frame: pd.DataFrame) -> pd.DataFrame:
    """What an episode takes on average: index policy, columns ``images`` and ``passes``; NaN where not counted."""

    def mean(counts: pd.Series) -> float:
        return float(counts.mean(skipna=False))

    return frame[["images", "passes"]].astype(float).groupby(frame["policy"], sort=False).agg(mean)


def attempts(frame: pd.DataFrame) -> pd.DataFrame:
    """Figure 9: mean similarity at each attempt; columns policy, attempt (0 is the initial image), mean, error."""
    rows = []
    for policy, episodes in frame.groupby("policy", sort=False):
        for attempt, values in enumerate(np.array(episodes["similarities"].tolist()).T):
            mean = estimate(table(episodes.assign(value=values), str(policy), "value"))
            rows.append((policy, attempt, mean.value, mean.error))
    return pd.DataFrame(rows, columns=["policy", "attempt", "mean", "error"])


def paired_difference(frame: pd.DataFrame, policy: str, baseline: str, column: str = "improvement") -> Estimate:
    """Mean of policy minus baseline on the same tasks with the same noise.

    A baseline of several training seeds is averaged over them first.

    Raises:
        ValueError: the two were played on different tasks.
    """
    tasks = [set(frame.loc[frame["policy"] == name, "task_index"]) for name in (policy, baseline)]
    if tasks[0] != tasks[1]:
        raise ValueError(f"{policy!r} and {baseline!r} were played on different tasks: evaluate them together")
    return estimate(table(frame, policy, column) - table(frame, baseline, column).mean(axis=0))


def by_choosing(frame: pd.DataFrame) -> pd.DataFrame:
    """The episodes of image steering: those in which users chose among images."""
    return frame[frame["choices"].map(len) > 0]


def stay_rates(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of rounds in which the user kept the current image: index policy, columns round 1 to R.

    Args:
        frame: episodes of image steering, see :func:`by_choosing`.
    """
    stayed = pd.DataFrame(np.array(frame["choices"].tolist()) == 0)
    rates = stayed.groupby(frame["policy"].to_numpy(), sort=False).mean()
    return rates.rename_axis("policy").rename(columns=lambda place: f"round {place + 1}")


def people_or_tasks(traces: Sequence[SteeringTrace]) -> pd.Series:
    """Whose each episode is, within which episodes depend on each other: a person, or where users are simulated a task.

    Returns:
        N names, called ``unit``.
    """
    names = [t.human if t.human.startswith(PERSON) else f"{t.suite} {t.task_index}" for t in traces]
    return pd.Series(names, name="unit")
