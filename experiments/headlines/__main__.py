"""Steer a language model: ``python -m experiments.headlines suite=csv:PATH model=local model.path=FOLDER …``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.headlines.users import USERS
from experiments.run import REQUIRED, Run, RunOptions, command, option, part
from experiments.run.headlines.tasks import load_headlines
from experiments.run.options import SentenceMetricOptions
from experiments.run.parts import configured_writer
from experiments.run.released.files import load_source
from experiments.run.released.headlines import headline_sessions, session_ratings
from steer_env.evaluation.reports import steering_report
from steer_env.traces import write_traces


@dataclass
class HeadlinesOptions(RunOptions):
    """Steer a language model to headlines (paper, B.2): users tell it how to rewrite an original, and report.

    A user may not use words of the goal headline that the original doesn't have; see docs/headlines.md.

    Args:
        suite: csv:PATH, a file with the column original, and goal_prompt, hidden instructions by which the model writes
            the goal, or goal, a headline; and optionally instructions (the user's first), goal_seed and initial_seed.
            study:FOLDER, originals, goals and people's first instructions of the released study; study-prompts:FOLDER,
            the same with goals that the model writes anew by the study's hidden prompts.
        users: goal, who sees the goal, as people in the study did; feedback, who sees how similar the texts were; and
            blind, who says the first instructions in other words.
        baseline: the user with whom the others are compared.
        attempts: of an episode.
        tries: how often a user who sees the goal rewrites instructions with forbidden words, before the words are left
            out.
        tasks: how many tasks of the suite, from its first; 0 for all.
        tasks_per_batch: how many of them at a time.
        threshold: similarity whose reaching is counted.
        examples: how many episodes of the first user to print.
        study: folder of the released study, to report its real people's attempts under the metric, too; empty for not.
        model: the language model that is steered.
        writer: the language model that writes users' prompts; the steered one where there is none.
    """

    suite: str = REQUIRED
    users: list[str] = option(["goal", "feedback", "blind"], length=1, unique=True)
    baseline: str = "blind"
    attempts: int = option(5, least=2)
    tries: int = option(2, least=0)
    tasks: int = option(0, least=0)
    tasks_per_batch: int = option(16, least=1, most=65536)
    threshold: float = option(0.8, least=-1, most=1)
    examples: int = option(4, least=0)
    study: str = ""
    metric: SentenceMetricOptions = field(default_factory=SentenceMetricOptions)
    model: Any = part("local")
    writer: Any = part("none")


@command(HeadlinesOptions)
def main(options: HeadlinesOptions, run: Run) -> dict[str, Any]:
    """Play every user on the same headlines, write traces as they come, and leave a report."""
    from experiments.headlines.report import episode_section, people_section, rule_section, score
    from experiments.headlines.rollout import play_suite
    from experiments.run.headlines.dynamics import HeadlineDynamics
    from experiments.run.headlines.embeddings import SentenceMetric
    from experiments.run.playing import spread

    suite = load_headlines(options.suite)
    tasks = options.tasks or len(suite.tasks)
    if not 2 <= tasks <= len(suite.tasks):
        raise ValueError(f"tasks must be 2 to {len(suite.tasks)}, the size of {suite.name}, got {tasks}")
    kinds = [USERS[name] for name in options.users]
    if options.baseline not in options.users:
        raise ValueError(f"the baseline {options.baseline!r} isn't among the users: {', '.join(options.users)}")
    people = headline_sessions(Path(options.study).expanduser()) if options.study else []
    ratings = load_source(Path(options.study).expanduser(), "llm_ratings") if options.study else None
    metric = SentenceMetric(options.metric.path, options.metric.device)
    model = configured_writer(options.model)
    assert model is not None
    dynamics = HeadlineDynamics(model, metric, options.attempts)
    writer = configured_writer(options.writer) or model
    users = [kind(writer) for kind in kinds]
    folder = run.open()
    traces, counts = play_suite(dynamics, users, suite, tasks, options.tasks_per_batch, options.tries, folder)
    sections = [rule_section(counts)]
    if ratings is not None:
        scored = score(people, metric)
        write_traces(scored, folder / "people" / "study.parquet")
        sections.append(people_section(people, scored, session_ratings(people, ratings)))
    examples = spread([trace for trace in traces if trace.policy == users[0].name], options.examples)
    sections += [episode_section(trace) for trace in examples]
    baseline = users[options.users.index(options.baseline)].name
    run.publish(steering_report(traces, baseline, options.threshold, sections))
    return {"tasks": tasks, "users": [user.name for user in users]}


if __name__ == "__main__":
    main()
