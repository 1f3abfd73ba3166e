"""The best known policy: ``python -m experiments.best_known folder=outputs/best trainings=[outputs/sweep/*]``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.bandits import BanditAgent
from agents.registry import expand, resolve_policies
from conf import schema
from experiments.agent_specs import bandit_factory
from experiments.playing import check_tasks, play_suite
from experiments.runs import application, check_run, close_run, env_options, open_run, publish, say
from steer_env.evaluation.reports import steering_report
from steer_env.evaluation.rollout import VERSIONS
from steer_env.evaluation.statistics import table
from steer_env.policies import TablePolicy
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.traces import SteeringTrace, check_alike, read_traces, traces_to_frame

schema.register()

_PARTS = ("generator", "metric", "human", "mechanism")


@application("best_known")
def main(config: Any) -> None:
    """Learn from the episodes of all trainings, race what was learned, and leave the best as a policy."""
    check_run(config)
    trainings = expand(config.trainings)
    learned_from = [trace for spec in trainings for trace in read_traces(Path(spec) / "traces")]
    check_alike(learned_from, ("suite", *_PARTS))
    agents = {spec: bandit_factory(spec, config.env.rounds) for spec in config.agents}
    options = env_options(config)
    check_tasks(config.tasks, **options)
    candidates = [policy for policy in resolve_policies(config.policies) if isinstance(policy, TablePolicy)]
    folder = open_run(config)
    candidates += [_learn(spec, make_agent(), learned_from) for spec, make_agent in agents.items()]
    traces = play_suite(candidates, config.tasks, config.tasks_per_batch, folder / "traces", **options)
    frame = traces_to_frame(traces)
    best = max(candidates, key=lambda candidate: float(table(frame, candidate.name).mean()))
    found_by = {"found by": best.name, "trainings": len(trainings), "raced on": config.env.suite, "tasks": config.tasks}
    parts = {part: getattr(learned_from[0], part) for part in _PARTS}
    record = TrainingRecord(learned_from[0].suite, len(learned_from), found_by | parts, VERSIONS)
    name = f"best of {len(trainings)} trainings"
    TablePolicy(name, best.scales, card=PolicyCard(training=record)).save(folder / "policy")
    publish(steering_report(traces, best.name, config.threshold), folder)
    say(f"{best.name} is the best; mixture scales, (moved, stayed) for each round: {best.scales.tolist()}")
    close_run(folder, {"best": best.name, "scales": best.scales.tolist()})


def _learn(spec: str, agent: BanditAgent, episodes: Sequence[SteeringTrace]) -> TablePolicy:
    agent.update(episodes)
    return agent.policy(spec)


if __name__ == "__main__":
    main()
