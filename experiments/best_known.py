"""The best known policy: ``python -m experiments.best_known folder=outputs/best trainings=[outputs/sweep/*]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.files import CHECKPOINT, RESULT
from experiments.run import REQUIRED, EnvOptions, PlayOptions, Run, command, option, say
from experiments.run.parts import bandit_factory, env_options, load_table
from steer_env.evaluation.reports import steering_report
from steer_env.evaluation.statistics import table
from steer_env.policies import TablePolicy
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.policies.lists import expand
from steer_env.traces import SteeringTrace, check_alike, read_traces, traces_to_frame
from steer_env.versions import VERSIONS

_PARTS = ("generator", "metric", "human", "mechanism")


@dataclass
class BestKnownOptions(PlayOptions):
    """Find the best policy from far more episodes than one training plays, for tables to show regret.

    Each agent learns from the episodes of all the trainings, whatever agent played them; what they would play is raced
    on validation tasks against policies made by hand, and the best is kept.

    Args:
        trainings: folders of finished trainings with the same parts, or patterns such as outputs/sweep/*.
        agents: bandits that learn from episodes of others, as in experiments.efficiency.
        policies: tables over (round, stayed) to race against, such as schedules.
        threshold: similarity whose reaching is counted.
    """

    trainings: list[str] = option(REQUIRED, length=1, unique=True)
    agents: list[str] = option(
        ["planning", "planning:pooling=false", "planning:pooling=false,covariate=false"], length=1, unique=True
    )
    policies: list[str] = option(["schedule:1.0-1.0-0.8-0.6", "schedule:1.0-0.9-0.7-0.5"], unique=True)
    threshold: float = option(0.8, least=-1, most=1)
    env: EnvOptions = field(default_factory=lambda: EnvOptions(suite="tiles-val-v1"))


@command(BestKnownOptions)
def main(options: BestKnownOptions, run: Run) -> dict[str, Any]:
    """Learn from the episodes of all trainings, race what was learned, and leave the best as a policy."""
    from experiments.run.playing import check_tasks, play_suite

    trainings = expand(options.trainings)
    episodes = _episodes(trainings)
    agents = {spec: bandit_factory(spec, options.env.rounds) for spec in options.agents}
    env = env_options(options)
    check_tasks(options.tasks, **env)
    candidates = [load_table(spec, "each of policies") for spec in options.policies]
    folder = run.open()
    for spec, make_agent in agents.items():
        agent = make_agent()
        agent.update(episodes)
        candidates.append(agent.policy(spec))
    traces = play_suite(candidates, options.tasks, options.tasks_per_batch, folder / "traces", **env)
    frame = traces_to_frame(traces)
    best = max(candidates, key=lambda candidate: float(table(frame, candidate.name).mean()))
    source = {"found by": best.name, "trainings": len(trainings), "raced on": options.env.suite, "tasks": options.tasks}
    parts = {part: getattr(episodes[0], part) for part in _PARTS}
    record = TrainingRecord(episodes[0].suite, len(episodes), source | parts, VERSIONS)
    name = f"best of {len(trainings)} trainings"
    TablePolicy(name, best.scales, card=PolicyCard(training=record)).save(folder / "policy")
    run.publish(steering_report(traces, best.name, options.threshold))
    say(f"{best.name} is the best; mixture scales, (moved, stayed) for each round: {best.scales.tolist()}")
    return {"best": best.name, "scales": best.scales.tolist()}


def _episodes(trainings: list[str]) -> list[SteeringTrace]:
    """All that the trainings played, which are refused if they aren't finished, or have different parts."""
    for folder in (Path(folder).expanduser() for folder in trainings):
        if not ((folder / CHECKPOINT).is_file() and (folder / RESULT).is_file()):
            raise ValueError(f"{folder} holds no finished training: give folders of experiments.train")
    episodes = [trace for folder in trainings for trace in read_traces(Path(folder).expanduser() / "traces")]
    check_alike(episodes, ("suite", *_PARTS))
    return episodes


if __name__ == "__main__":
    main()
