"""One report over several evaluations: ``python -m experiments.compare evaluations=[a,b]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.run import REQUIRED, Run, RunOptions, command, option
from experiments.run.evaluations import merge, on_common_tasks, read_evaluation
from steer_env.evaluation.leaderboard import Entry, leaderboard_report, tracks
from steer_env.evaluation.reports import Section, steering_report
from steer_env.traces import SteeringTrace, traces_to_frame


@dataclass
class CompareOptions(RunOptions):
    """Report on several evaluations together, such as those of different mechanisms or users.

    Args:
        evaluations: folders of experiments.evaluate or experiments.people, on the same suite with the same generator
            and metric. Tasks that not all policies have played are left out.
        baseline: which row the others are compared with: a policy's name, followed, where they vary, by mechanism and
            user: "random bucket, mixture"; people are one user, called people.
        threshold: similarity whose reaching is counted.
        rank: whether to rank the policies, too, as experiments.leaderboard does.
    """

    evaluations: list[str] = option(REQUIRED, length=1, unique=True)
    baseline: str = "random bucket, mixture"
    threshold: float = option(0.8, least=-1, most=1)
    rank: bool = False


@command(CompareOptions)
def main(options: CompareOptions, run: Run) -> dict[str, Any]:
    """Read the traces of finished evaluations, and report on them as if they had been one."""
    merged = merge([read_evaluation(folder) for folder in options.evaluations])
    traces = on_common_tasks(merged)
    if not traces:
        raise ValueError("the policies were played on different tasks: there is none that all of them have played")
    report = steering_report(traces, options.baseline, options.threshold)
    if options.rank:
        report.sections.append(_ranking(traces))
    run.open()
    run.publish(report)
    return {"evaluations": options.evaluations, "tasks": len({trace.task_index for trace in traces})}


def _ranking(traces: Sequence[SteeringTrace]) -> Section:
    """The leaderboard's, without what traces don't say."""
    frame = traces_to_frame(traces)
    entries = dict.fromkeys(frame["policy"], Entry(None, 0.0))
    rows = [row for track in tracks(frame) for row in track.rows(entries)]
    ranking = leaderboard_report(rows, frame, "", "no machine: these episodes weren't timed", []).sections[0]
    (table,) = ranking.tables
    return replace(ranking, tables=[table.drop(columns=["training episodes", "ms an episode"])])


if __name__ == "__main__":
    main()
