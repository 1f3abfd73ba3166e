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

    Prompters are users themselves. An episode that was played in several evaluations counts once.

    Raises:
        ValueError: evaluations on different suites, or with different generators or metrics.
    """
    traces = list({_episode(trace): trace for evaluation in evaluations for trace in evaluation}.values())
    check_alike(traces, ("suite", "generator", "metric"))
    chosen, written = ([trace for trace in traces if bool(trace.prompts) is kind] for kind in (False, True))
    return [*_named(chosen, ("mechanism", "human")), *_named(written, ("mechanism",))]


def _episode(trace: SteeringTrace) -> tuple[Any, ...]:
    """All that settles what happens in it."""
    player = (trace.policy, trace.training_seed, trace.mechanism, trace.human, trace.generator, trace.metric)
    played = (tuple(trace.scales), tuple(trace.choices), tuple(trace.prompts))
    return (*player, *played, trace.suite, trace.task_index, trace.episode_seed, trace.goal_seed, trace.initial_seed)


def _named(traces: Sequence[SteeringTrace], parts: Sequence[str]) -> list[SteeringTrace]:
    varying = [part for part in parts if len({getattr(trace, part) for trace in traces}) > 1]
    return [
        replace(trace, policy=", ".join([trace.policy, *(getattr(trace, part) for part in varying)]))
        for trace in traces
    ]


if __name__ == "__main__":
    main()
