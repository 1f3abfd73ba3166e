"""From traces to numbers: DataFrame in, DataFrame or number out.

The units of every interval are tasks and training seeds. A policy's episodes form a table of training seeds ×
tasks; the variance of their mean is the two-way clustered one (Cameron, Gelbach & Miller, 2011), with Satterthwaite's
degrees of freedom: a few training seeds count for little where they agree, and for all where they don't.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error, the number of episodes in it, and degrees of freedom."""

    mean: float
    error: float
    episodes: int
    freedom: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's confidence interval."""
        half = float(stats.t.ppf(0.5 + level / 2, self.freedom)) * self.error
        return self.mean - half, self.mean + half

    @property
    def p_value(self) -> float:
        """Two-sided, against a mean of zero."""
        if self.error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.freedom))


def estimate(values: np.ndarray) -> Estimate:
    """Mean over training seeds × tasks, float (S, T), with its two-way clustered standard error.

    With one training seed the error is that of the mean over tasks, and speaks of that one training alone.

    Raises:
        ValueError: fewer than two tasks, or a missing episode.
    """
    seeds, tasks = values.shape
    if tasks < 2:
        raise ValueError(f"a standard error needs at least 2 tasks, got {tasks}")
    if not np.isfinite(values).all():
        raise ValueError("every training seed must be played on every task")
    by_task = float(values.mean(axis=0).var(ddof=1)) / tasks
    if seeds == 1:
        return Estimate(float(values.mean()), by_task**0.5, values.size, tasks - 1)
    by_seed = float(values.mean(axis=1).var(ddof=1)) / seeds
    single = float(values.var(ddof=1)) / values.size
    variance = max(by_task + by_seed - single, by_task, by_seed)
    spread = by_task**2 / (tasks - 1) + by_seed**2 / (seeds - 1)
    return Estimate(float(values.mean()), variance**0.5, values.size, variance**2 / spread if spread else tasks - 1)


def ratio(part: np.ndarray, whole: np.ndarray) -> Estimate:
    """Mean of one measure over mean of another on the same tasks, float (T,) each, with the delta method's error.

    Raises:
        ValueError: fewer than two tasks, a value that isn't finite, or a whole whose mean isn't positive.
    """
    share, influence = share_of(part, whole)
    found = estimate(influence[None])
    return Estimate(share, found.error, found.episodes, found.freedom)


def share_of(part: np.ndarray, whole: np.ndarray) -> tuple[float, np.ndarray]:
    """Ratio of the means of two paired measures, float (T,) each, and the influence of each pair on it.

    Raises:
        ValueError: the whole's mean isn't positive.
    """
    if not whole.mean() > 0:
        raise ValueError(f"there is no share of a mean of {whole.mean():g}")
    share = float(part.sum() / whole.sum())
    return share, (part - share * whole) / whole.mean()


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
        threshold, R + 1 where it isn't reached) and ``NAME change`` of each judge: an :class:`Estimate`.
    """
    measured = _measures(frame, threshold)
    names = [name for name in measured.columns if name not in ("policy", "training_seed", "task_index")]
    rows = {
        policy: {name: estimate(table(measured, policy, name)) for name in names}
        for policy in measured["policy"].unique()
    }
    result = pd.DataFrame.from_dict(rows, orient="index")
    result.index.name = "policy"
    return result.loc[sorted(rows, key=lambda policy: -rows[policy]["change"].mean)]


def _measures(frame: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """One row an episode, one column a measure."""
    similarities = np.array(frame["similarities"].tolist())
    reached = similarities >= threshold
    measured = frame[["policy", "training_seed", "task_index"]].copy()
    measured["change"] = similarities[:, -1] - similarities[:, 0]
    measured["improved"] = (measured["change"] > 0).astype(float)
    measured["reached"] = reached.any(axis=1).astype(float)
    measured["rounds"] = np.where(reached.any(axis=1), reached.argmax(axis=1), similarities.shape[1])
    return measured.join(judged_changes(frame))


def judged_changes(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an episode, one column ``NAME change`` for each metric that nothing was trained on."""
    columns = {}
    for judge in frame["judged"].iloc[0]:
        values = np.array([row[judge] for row in frame["judged"]])
        columns[f"{judge} change"] = values[:, -1] - values[:, 0]
    return pd.DataFrame(columns, index=frame.index)


def images(frame: pd.DataFrame) -> pd.Series:
    """How many images an episode takes on average: index policy; NaN where an episode's weren't counted."""
    made = frame["images"].astype(float)
    return made.groupby(frame["policy"], sort=False).agg(lambda counts: counts.mean(skipna=False))


def attempts(frame: pd.DataFrame) -> pd.DataFrame:
    """Figure 9: mean similarity at each attempt; columns policy, attempt (0 is the initial image), mean, error."""
    rows = []
    for policy in frame["policy"].unique():
        chosen = frame[frame["policy"] == policy]
        similarities = np.array(chosen["similarities"].tolist())
        for attempt in range(similarities.shape[1]):
            values = table(chosen.assign(value=similarities[:, attempt]), policy, "value")
            found = estimate(values)
            rows.append((policy, attempt, found.mean, found.error))
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
    """The episodes of image steering: those in which users chose among images of given mixture scales."""
    return frame[frame["scales"].map(len) > 0]


def stay_rates(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of rounds in which the user kept the current image: index policy, columns round 1 to R.

    Args:
        frame: episodes of image steering, see :func:`by_choosing`.
    """
    stayed = np.array(frame["choices"].tolist()) == 0
    columns = {f"round {i + 1}": stayed[:, i] for i in range(stayed.shape[1])}
    return pd.DataFrame({"policy": frame["policy"].to_numpy(), **columns}).groupby("policy", sort=False).mean()
