"""Rank policies: ``python -m experiments.leaderboard folder=outputs/board policies=[published,outputs/run-*]``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import torch

from agents.checkpoints import write_json
from agents.claims import conditions, write_claims
from agents.registry import check_apart, expand, resolve_policies
from conf import schema
from experiments.collecting import collecting, shared_options
from experiments.playing import check_tasks, draw_examples, play_suite, time_policies
from experiments.runs import CLAIMS, LEADERBOARD, application, check_run, close_run, open_run, publish, say
from steer_env.evaluation.leaderboard import tracks
from steer_env.evaluation.leaderboard_page import leaderboard_report
from steer_env.evaluation.rollout import VERSIONS
from steer_env.traces import traces_to_frame
from steer_env.types import Prompter

schema.register()


@application("leaderboard")
def main(config: Any) -> None:
    """Play every policy on the same tasks, rank them, and leave a page and the JSON behind it."""
    check_run(config)
    specs, options = expand(config.policies), shared_options(config)
    check_apart(config.folder, specs)
    refused: dict[str, str] = {}
    policies = resolve_policies(specs, rounds=config.env.rounds, refused=refused)
    for spec, reason in refused.items():
        say(f"refused: {spec}: {reason}")
    if not policies:
        raise ValueError("no policy is left to be ranked")
    choosing = [policy for policy in policies if not isinstance(policy, Prompter)] if config.robust_human else []
    noisy_options = options | {"human": config.robust_human, "human_options": dict(config.robust_human_options)}
    env = check_tasks(config.tasks, **options)
    if choosing:
        check_tasks(config.tasks, **noisy_options)
    for name in ("resamples", "timed_tasks"):
        if config[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {config[name]}")
    folder = open_run(config)
    size = (config.tasks, config.tasks_per_batch)
    with collecting(config, options) as collectors:
        traces = play_suite(policies, *size, folder / "traces", collectors=collectors, **options)
        entries = time_policies(policies, min(config.timed_tasks, config.tasks), collectors, **options)
    noisy = []
    if choosing:
        with collecting(config, noisy_options) as collectors:
            noisy = play_suite(choosing, *size, folder / "traces" / "noisy", collectors=collectors, **noisy_options)
    frame, noisy_frame = traces_to_frame(traces), traces_to_frame(noisy) if noisy else None
    rows = [row for track in tracks(frame, noisy_frame, resamples=config.resamples) for row in track.rows(entries)]
    record = _circumstances(config, env) | {"noisy_human": noisy[0].human if noisy else ""}
    write_json(record | {"rows": [asdict(row) for row in rows], "refused": refused}, folder / LEADERBOARD)
    strips = draw_examples(traces, rows[0].policy, config.strips, options)
    report = leaderboard_report(rows, frame, record["noisy_human"], record["machine"], strips, refused)
    publish(report, folder, wide=True)
    if config.claim:
        write_claims(policies, traces, env, folder / CLAIMS)
    close_run(folder, {"tasks": config.tasks, "policies": [policy.name for policy in policies]})


def _circumstances(config: Any, env: Any) -> dict[str, Any]:
    """What the numbers hold for, and where and when they were made."""
    date = datetime.now(timezone.utc).date().isoformat()
    machine = f"{env.dynamics.generator.device} with {torch.get_num_threads()} threads, {date}"
    played = {name: config[name] for name in ("tasks", "tasks_per_batch", "resamples", "timed_tasks")}
    return conditions(env) | played | {"machine": machine, "date": date, "versions": VERSIONS}


if __name__ == "__main__":
    main()
