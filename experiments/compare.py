"""One report over several evaluations: ``python -m experiments.compare folder=outputs/all evaluations=[a,b]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conf import schema
from experiments.runs import application, check_run, close_run, open_run, publish
from steer_env.evaluation.reports import steering_report
from steer_env.traces import SteeringTrace, check_alike, read_traces

schema.register()


@application("compare")
def main(config: Any) -> None:
    """Read the traces of finished evaluations, and report on them as if they had been one."""
    check_run(config)
    traces = merge([read_traces(Path(folder) / "traces") for folder in config.evaluations])
    report = steering_report(traces, config.baseline, config.threshold)
    folder = open_run(config)
    publish(report, folder)
    close_run(folder, {"evaluations": list(config.evaluations)})


def merge(evaluations: Sequence[Sequence[SteeringTrace]]) -> list[SteeringTrace]:
    """Traces of several evaluations, whose policies are told apart by whatever else differs: mechanism or user.

    Prompters have one mechanism and are users themselves: they keep their names.

    Raises:
        ValueError: evaluations on different suites, or with different generators or metrics.
    """
    traces = [trace for evaluation in evaluations for trace in evaluation]
    check_alike(traces, ("suite", "generator", "metric"))
    chosen = [trace for trace in traces if not trace.prompts]
    varying = [part for part in ("mechanism", "human") if len({getattr(trace, part) for trace in chosen}) > 1]
    named = [
        replace(trace, policy=", ".join([trace.policy, *(getattr(trace, part) for part in varying)]))
        for trace in chosen
    ]
    return named + [trace for trace in traces if trace.prompts]


if __name__ == "__main__":
    main()
