"""The share of luck: ``python -m experiments.lottery folder=outputs/lottery evaluation=A blind_evaluation=B``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conf import schema
from experiments.compare import merge
from experiments.runs import application, check_run, close_run, open_run, publish
from steer_env.evaluation.lottery import lottery_report
from steer_env.traces import SteeringTrace, read_traces, traces_to_frame

schema.register()


@application("lottery")
def main(config: Any) -> None:
    """Read the traces of two finished evaluations, and report which share of the user's improvement was luck."""
    check_run(config)
    steered = _of(config.evaluation, config.user)
    drawn = _of(config.blind_evaluation, config.blind)
    frame = traces_to_frame(merge([steered, drawn]))
    report = lottery_report(frame, config.user, config.blind, config.attempts)
    folder = open_run(config)
    publish(report, folder)
    close_run(folder, {"user": config.user, "blind": config.blind, "attempts": list(config.attempts)})


def _of(evaluation: str, policy: str) -> list[SteeringTrace]:
    """The traces of one policy.

    Raises:
        ValueError: the evaluation doesn't have it.
    """
    traces = read_traces(Path(evaluation) / "traces")
    found = [trace for trace in traces if trace.policy == policy]
    if not found:
        names = ", ".join(sorted({trace.policy for trace in traces}))
        raise ValueError(f"{evaluation} has no policy {policy!r}; it has: {names}")
    return found


if __name__ == "__main__":
    main()
