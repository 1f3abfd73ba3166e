"""Compare policies: ``python -m experiments.evaluate policies=[random-bucket,outputs/run]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.files import CHECKPOINT
from experiments.run import PlayOptions, Run, choice, command, option, part
from experiments.run.options import LauncherOptions
from experiments.run.parts import configured_writer, env_options
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Section, steering_report
from steer_env.policies.lists import check_apart, expand, load_policies
from steer_env.traces import read_improvements


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
    from experiments.run.playing import check_players, draw_examples, play_suite

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


def learning_section(folder: Path) -> Section | None:
    """How the policy of a training run was learned: its curve, and a bandit's value function (the paper's Figure 8).

    None for a folder that no training left. What is damaged there is named in the section, and costs nothing else.
    """
    from agents.bandits import make_bandit
    from agents.checkpoints import TRACES, finished_checkpoint

    if not (folder / CHECKPOINT).is_file():
        return None
    title = f"What was learned (Figure 8): {folder.name}"
    try:
        checkpoint = finished_checkpoint(folder)
        identity = checkpoint["identity"]
        improvements = read_improvements(folder / TRACES, most=checkpoint["episodes"])
        figures = [plots.training_curve(improvements)]
        text = f"{len(improvements)} episodes on {identity['suite']}, seed {identity['seed']}. "
        text += "Improvement over training, with 95 % intervals."
        if "kind" in identity:
            agent = make_bandit(identity["rounds"], identity)
            agent.restore(checkpoint["agent"])
            figures.append(plots.value_function(agent.means, agent.deviations, agent.counts))
            text += f" {agent.meaning}. A star marks the best scale."
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Section(title, f"It can't be shown: {str(error)[:300]}")
    return Section(title, text, figures=figures)


if __name__ == "__main__":
    main()
