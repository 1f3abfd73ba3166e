"""Compare policies: ``python -m experiments.evaluate folder=outputs/table policies=[random-bucket,outputs/run]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.checkpoints import CHECKPOINT
from agents.registry import check_apart, expand, learning_section, resolve_policies
from conf import schema
from experiments.collecting import collecting, shared_options
from experiments.playing import check_tasks, draw_examples, play_suite
from experiments.runs import application, check_run, close_run, open_run, publish
from experiments.writers import configured_writer
from steer_env.evaluation.reports import steering_report

schema.register()


@application("evaluate")
def main(config: Any) -> None:
    """Play every policy on the same tasks, write traces as they come, and leave a report."""
    check_run(config)
    specs, options = expand(config.policies), shared_options(config)
    check_apart(config.folder, specs)
    policies = resolve_policies(specs, configured_writer(config.writer))
    if config.baseline not in [policy.name for policy in policies]:
        names = ", ".join(policy.name for policy in policies)
        raise ValueError(f"the baseline {config.baseline!r} isn't among the policies evaluated: {names}")
    check_tasks(config.tasks, **options)
    folder = open_run(config)
    size = (config.tasks, config.tasks_per_batch)
    with collecting(config, options) as collectors:
        traces = play_suite(policies, *size, folder / "traces", collectors=collectors, **options)
    learning = [learning_section(Path(spec)) for spec in specs if (Path(spec) / CHECKPOINT).is_file()]
    strips = draw_examples(traces, policies[-1].name, config.strips, options)
    report = steering_report(traces, config.baseline, config.threshold, learning, strips)
    publish(report, folder)
    close_run(folder, {"tasks": config.tasks, "policies": [policy.name for policy in policies]})


if __name__ == "__main__":
    main()
