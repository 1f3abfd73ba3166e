"""How much of a user's improvement is luck: ``python -m experiments.lottery evaluation=A blind_evaluation=B``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.run import REQUIRED, Run, RunOptions, command, option
from experiments.run.evaluations import merge, read_policy
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.statistics import table
from steer_env.evaluation.uncertainty import estimate, ratio
from steer_env.traces import traces_to_frame


@dataclass
class LotteryOptions(RunOptions):
    """How much of a user's improvement blind attempts reach by luck (Figure 3, right).

    Args:
        evaluation: folder of a finished evaluation in which the user steered.
        user: the policy or prompter there that saw the goal.
        blind_evaluation: folder of a finished evaluation on the same tasks, with env.rounds as large as the largest
            number of attempts.
        blind: the prompter there that didn't see it.
        attempts: numbers of blind attempts.
    """

    evaluation: str = REQUIRED
    user: str = "text attribute"
    blind_evaluation: str = REQUIRED
    blind: str = "text blind"
    attempts: list[int] = option([4, 7, 10, 20], least=1, length=1, unique=True)


@command(LotteryOptions)
def main(options: LotteryOptions, run: Run) -> dict[str, Any]:
    """Read the traces of two finished evaluations, and report which share of the user's improvement was luck."""
    steered = read_policy(options.evaluation, options.user)
    drawn = read_policy(options.blind_evaluation, options.blind)
    frame = traces_to_frame(merge([steered, drawn]))
    report = lottery_report(frame, options.user, options.blind, options.attempts)
    run.open()
    run.publish(report)
    return {"user": options.user, "blind": options.blind, "attempts": options.attempts}


def shares(frame: pd.DataFrame, user: str, blind: str, attempts: Sequence[int]) -> pd.DataFrame:
    """The share of a user's improvement that blind attempts reach.

    Improvement is C.1's: of the best image over the first, never below zero. The first k attempts of a blind episode
    stand for an episode of k.

    Args:
        frame: from :func:`steer_env.traces.traces_to_frame`, both on the same tasks.
        user, blind: policies that saw the goal, and that never did.
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
        best, change = _best(luck[:, : k + 1]), luck[:, 1 : k + 1] - luck[:, :1]
        rows.append((k, ratio(best, reached), estimate(best), estimate(change.mean(axis=1))))
    return pd.DataFrame(rows, columns=["attempts", "share", "improvement", "one"])


def lottery_report(frame: pd.DataFrame, user: str, blind: str, attempts: Sequence[int]) -> Report:
    """Figure 3 (right) as a page: see :func:`shares`."""
    drawn = shares(frame, user, blind, attempts)
    similarities, tasks = _similarities(frame, user)
    reached = estimate(_best(similarities))
    first = frame.iloc[0]
    lead = (
        f"What “{blind}” reaches without seeing the goal, beside “{user}” with {similarities.shape[1] - 1} attempts, "
        f"on {len(tasks)} tasks of {first['suite']}: generator {first['generator']}, metric {first['metric']}. "
        f"Improvement is of the best image over the first; the user's is {reached}. Standard errors over tasks "
        "in parentheses, the share's by the delta method."
    )
    table = pd.DataFrame(
        {
            "blind attempts": drawn["attempts"],
            "share of the user's improvement": drawn["share"].map("{:.3f}".format),
            "improvement": drawn["improvement"],
            "change of a single attempt": drawn["one"],
        }
    )
    lead_in = "A share near 1 says that trying as often, without looking, does as well."
    return Report(
        f"How much of “{user}” is luck?",
        lead,
        [Section("Blind attempts (Figure 3)", lead_in, [table], [share_figure(drawn)])],
    )


def share_figure(drawn: pd.DataFrame) -> plots.Figure:
    """Figure 3, right: the share that k blind attempts reach, from :func:`shares`, with one standard error."""
    figure, axes = plots.canvas(4.8, 3.6)
    places = range(len(drawn))
    heights = [100 * share.value for share in drawn["share"]]
    errors = [100 * share.error for share in drawn["share"]]
    axes.bar(places, heights, yerr=errors, capsize=3, color=plots.colour(0))
    axes.axhline(100, color="black", lw=0.8, ls="--", label="the user")
    axes.set_xticks(places, [str(k) for k in drawn["attempts"]])
    axes.set_xlabel("blind attempts")
    axes.set_ylabel("share of the user's improvement, %")
    axes.legend(fontsize="small")
    return figure


def _similarities(frame: pd.DataFrame, policy: str) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of every attempt, the first image's included, float (T, 1 + k), and the tasks (T,)."""
    table(frame, policy)
    rows = frame[frame["policy"] == policy].sort_values("task_index")
    if rows["training_seed"].nunique() > 1:
        raise ValueError(f"{policy!r} was trained with several seeds: give one of them")
    return np.array(rows["similarities"].tolist()), rows["task_index"].to_numpy()


def _best(similarities: np.ndarray) -> np.ndarray:
    return similarities.max(axis=1) - similarities[:, 0]


if __name__ == "__main__":
    main()
