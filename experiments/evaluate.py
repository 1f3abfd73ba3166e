"""Compare policies: ``python -m experiments.evaluate folder=outputs/table policies=[random-bucket,outputs/run]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.checkpoints import CHECKPOINT
from agents.registry import learning_section, resolve_policies
from conf import schema
from experiments.runs import application, check_run, close_run, env_options, open_run, publish, stop
from steer_env.evaluation import plots
from steer_env.evaluation.reports import steering_report
from steer_env.evaluation.rollout import evaluate, make_env, replay
from steer_env.traces import SteeringTrace, read_traces, write_traces

schema.register()


@application("evaluate")
def main(config: Any) -> None:
    """Play every policy on the same tasks, write traces as they come, and leave a report."""
    check_run(config)
    policies, options = resolve_policies(list(config.policies)), env_options(config)
    if config.baseline not in [policy.name for policy in policies]:
        names = ", ".join(policy.name for policy in policies)
        raise ValueError(f"the baseline {config.baseline!r} isn't among the policies evaluated: {names}")
    available = len(make_env(1, **options).suite)
    if not 2 <= config.tasks <= available:
        raise ValueError(f"tasks must be 2 to {available}, the size of {options['suite']}, got {config.tasks}")
    folder = open_run(config)
    done = _tasks_done(folder)
    try:
        for part in evaluate(policies, config.tasks, config.tasks_per_batch, done, **options):
            write_traces(part, folder / "traces" / f"{part[0].task_index:08d}.parquet")
    except KeyboardInterrupt:
        stop(folder)
    traces = [trace for trace in read_traces(folder / "traces") if trace.task_index < config.tasks]
    learning = [learning_section(Path(spec)) for spec in config.policies if (Path(spec) / CHECKPOINT).is_file()]
    strips = [_strip(trace, options) for trace in _examples(traces, policies[-1].name, config.strips)]
    report = steering_report(traces, config.baseline, config.threshold, learning, strips)
    publish(report, folder)
    close_run(folder, {"tasks": config.tasks, "policies": [policy.name for policy in policies]})


def _tasks_done(folder: Path) -> int:
    parts = sorted((folder / "traces").glob("*.parquet"))
    return 1 + max(trace.task_index for trace in read_traces(parts[-1])) if parts else 0


def _examples(traces: list[SteeringTrace], policy: str, n: int) -> list[SteeringTrace]:
    """Evenly spread over how much they improved, so that a reader sees the bad ones too."""
    ranked = sorted((t for t in traces if t.policy == policy), key=lambda trace: -trace.improvement)
    return [ranked[round(i * (len(ranked) - 1) / max(1, n - 1))] for i in range(min(n, len(ranked)))]


def _strip(trace: SteeringTrace, options: dict[str, Any]) -> Any:
    played = {k: v for k, v in options.items() if k not in ("suite", "rounds", "judges")}
    similarity = f"{trace.similarities[0]:.2f} → {trace.similarities[-1]:.2f}"
    title = f"task {trace.task_index}, {trace.policy}, similarity {similarity}"
    title += f"\ngoal: {trace.goal_prompt}\nuser: {' → '.join(trace.prompts or [trace.prompt])}"
    return plots.strip(replay(trace, **played), title)


if __name__ == "__main__":
    main()
