"""Steer a language model: ``python -m experiments.headlines folder=outputs/lines suite=csv:PATH model=local ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conf import schema
from experiments.headline_playing import check_numbers, play_suite
from experiments.playing import spread
from experiments.runs import application, check_run, close_run, open_run, publish
from experiments.writers import configured_writer
from steer_env.evaluation.reports import steering_report
from steer_env.headlines.dynamics import HeadlineDynamics
from steer_env.headlines.embeddings import SentenceMetric
from steer_env.headlines.people import people_section, score
from steer_env.headlines.reports import episode_section, rule_section
from steer_env.headlines.tasks import load_headlines
from steer_env.headlines.users import USERS
from steer_env.study.files import load_source
from steer_env.study.headlines import headline_sessions, session_ratings
from steer_env.traces import write_traces

schema.register()


@application("headlines")
def main(config: Any) -> None:
    """Play every user on the same headlines, write traces as they come, and leave a report."""
    check_run(config)
    suite = load_headlines(config.suite)
    tasks = check_numbers(config, suite)
    kinds = [USERS[name] for name in config.users]
    people = headline_sessions(Path(config.study)) if config.study else []
    ratings = load_source(Path(config.study), "llm_ratings") if config.study else None
    metric = SentenceMetric(config.metric.path, config.metric.device)
    model = configured_writer(config.model)
    if model is None:
        raise ValueError("there is nothing to steer: give model=endpoint or model=local")
    dynamics = HeadlineDynamics(model, metric, config.attempts)
    writer = configured_writer(config.writer) or model
    users = [kind(writer) for kind in kinds]
    folder = open_run(config)
    traces, counts = play_suite(dynamics, users, suite, tasks, config, folder)
    sections = [rule_section(counts)]
    if ratings is not None:
        scored = score(people, metric)
        write_traces(scored, folder / "people" / "study.parquet")
        sections.append(people_section(people, scored, session_ratings(people, ratings)))
    examples = spread([trace for trace in traces if trace.policy == users[0].name], config.examples)
    sections += [episode_section(trace) for trace in examples]
    baseline = users[list(config.users).index(config.baseline)].name
    publish(steering_report(traces, baseline, config.threshold, sections), folder)
    close_run(folder, {"tasks": tasks, "users": [user.name for user in users]})


if __name__ == "__main__":
    main()
