"""Compare policies: ``python -m experiments.evaluate policies=[random-bucket,outputs/run]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.run import PlayOptions, Run, choice, command, option, part
from experiments.run.options import LauncherOptions


@dataclass
class EvaluateOptions(PlayOptions):
    """Play policies on the same tasks with the same noise, and report.

    Args:
        policies: random-bucket, random-session, constant:SCALE, schedule:S-S-S-S, published, best-known; folders of
            training runs, or patterns such as outputs/sweep/*; or users who write prompts: text:person,
            text:attribute, text:blind, text:feedback, and with a writer written:blind and written:feedback. Episodes of
            the last are drawn.
        suite: in place of env.suite, in short.
        baseline: name of the policy that the others are compared with.
        threshold: similarity whose reaching is counted.
        strips: how many episodes to draw.
    """

    policies: list[str] = option(["random-bucket"], length=1, unique=True)
    suite: str = ""
    baseline: str = "random bucket"
    threshold: float = option(0.8, least=-1, most=1)
    strips: int = option(4, least=0)
    writer: Any = part("none")
    launcher: LauncherOptions = choice(LauncherOptions, "basic")


@command(EvaluateOptions)
def main(options: EvaluateOptions, run: Run) -> dict[str, Any]:
    """Play every policy on the same tasks, write traces as they come, and leave a report."""
    from agents.curves import learning_section
    from experiments.run.parts import configured_writer, env_options
    from experiments.run.playing import check_players, draw_examples, play_suite
    from steer_env.evaluation.reports import steering_report
    from steer_env.policies.lists import check_apart, expand, load_policies

    specs, env = expand(options.policies), env_options(options, **({"suite": options.suite} if options.suite else {}))
    check_apart(run.folder, specs)
    policies = load_policies(specs, configured_writer(options.writer))
    if options.baseline not in [policy.name for policy in policies]:
        names = ", ".join(policy.name for policy in policies)
        raise ValueError(f"the baseline {options.baseline!r} isn't among the policies evaluated: {names}")
    check_players(policies, options.tasks, **env)
    folder, size = run.open(), (options.tasks, options.tasks_per_batch)
    traces = play_suite(policies, *size, folder / "traces", **env)
    learning = [section for spec in specs if (section := learning_section(Path(spec).expanduser()))]
    strips = draw_examples(traces, policies[-1].name, options.strips, env)
    run.publish(steering_report(traces, options.baseline, options.threshold, learning, strips))
    return {"tasks": options.tasks, "policies": [policy.name for policy in policies]}


if __name__ == "__main__":
    main()
