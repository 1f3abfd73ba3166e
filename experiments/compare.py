"""One report over several evaluations: ``python -m experiments.compare evaluations=[a,b]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.run import REQUIRED, Run, RunOptions, command, option


@dataclass
class CompareOptions(RunOptions):
    """Report on several evaluations together, such as those of different mechanisms or users.

    Args:
        evaluations: folders of experiments.evaluate, on the same suite with the same generator and metric.
        baseline: which row the others are compared with: a policy's name, followed, where they vary, by mechanism and
            user: "random bucket, mixture".
        threshold: similarity whose reaching is counted.
    """

    evaluations: list[str] = option(REQUIRED, length=1, unique=True)
    baseline: str = "random bucket, mixture"
    threshold: float = option(0.8, least=-1, most=1)


@command(CompareOptions)
def main(options: CompareOptions, run: Run) -> dict[str, Any]:
    """Read the traces of finished evaluations, and report on them as if they had been one."""
    from experiments.run.finished import merge
    from steer_env.evaluation.reports import steering_report
    from steer_env.traces import read_traces

    traces = merge([read_traces(Path(folder).expanduser() / "traces") for folder in options.evaluations])
    report = steering_report(traces, options.baseline, options.threshold)
    run.open()
    run.publish(report)
    return {"evaluations": options.evaluations}


if __name__ == "__main__":
    main()
