"""Rank policies: ``python -m experiments.leaderboard policies=[published,outputs/run-*]``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

from agents.files import write_json
from experiments.run import PlayOptions, Run, command, option, say
from experiments.run.folder import CLAIMS, LEADERBOARD
from experiments.run.parts import env_options
from steer_env.evaluation.leaderboard import leaderboard_report, tracks
from steer_env.policies.lists import check_apart, expand, load_policies
from steer_env.traces import traces_to_frame
from steer_env.types import Prompter
from steer_env.versions import VERSIONS


@dataclass
class LeaderboardOptions(PlayOptions):
    """Rank policies by how much they improve on the same tasks with the same noise, as a page and as JSON.

    Trainings of one agent that differ in nothing but their seed are one row. A trained policy with a single training
    seed is shown below the others without a rank: it may have been a lucky one. Each mechanism is a track of its own,
    and users who write prompts are ranked among themselves. A submission that is refused is listed with the reason.

    Args:
        policies: as for experiments.evaluate; a pattern such as outputs/sweep/* stands for all folders of training runs
            or submissions that match it.
        robust_human: a noisy user, such as softmax:temperature=0.05, with whom all policies are played once more for a
            column of their own; empty for none.
        resamples: of the bootstrap.
        timed_tasks: how many tasks each policy is played on alone for the wall time of an episode.
        strips: how many episodes of the best policy to draw.
        claim: write the score of each stored policy into claims/, a file each, for experiments.verify.
    """

    policies: list[str] = option(
        ["random-bucket", "random-session", "constant:0.9", "published", "best-known"], length=1, unique=True
    )
    robust_human: str = ""
    resamples: int = option(2000, least=1, most=1_000_000)
    timed_tasks: int = option(16, least=1)
    strips: int = option(4, least=0)
    claim: bool = False


@command(LeaderboardOptions)
def main(options: LeaderboardOptions, run: Run) -> dict[str, Any]:
    """Play every policy on the same tasks, rank them, and leave a page and the JSON behind it."""
    from agents.claims import conditions, write_claims
    from experiments.run.playing import check_tasks, draw_examples, play_suite, time_policies
    from steer_env.evaluation.rollout import check_fit

    specs, arguments = expand(options.policies), env_options(options)
    check_apart(run.folder, specs)
    refused: dict[str, str] = {}
    fits = partial(check_fit, options=arguments)
    policies = load_policies(specs, rounds=options.env.rounds, refused=refused, check=fits)
    for spec, reason in refused.items():
        say(f"refused: {spec}: {reason}")
    if not policies:
        raise ValueError("no policy is left to be ranked")
    choosing = [policy for policy in policies if not isinstance(policy, Prompter)] if options.robust_human else []
    env, noisily = check_tasks(options.tasks, **arguments), {**arguments, "human": options.robust_human}
    if choosing:
        check_tasks(options.tasks, **noisily)
    folder, size = run.open(), (options.tasks, options.tasks_per_batch)
    traces = play_suite(policies, *size, folder / "traces", **arguments)
    entries = time_policies(policies, min(options.timed_tasks, options.tasks), **arguments)
    noisy = play_suite(choosing, *size, folder / "traces" / "noisy", **noisily) if choosing else []
    frame, noisy_frame = traces_to_frame(traces), traces_to_frame(noisy) if noisy else None
    rows = [row for track in tracks(frame, noisy_frame, resamples=options.resamples) for row in track.rows(entries)]
    record = conditions(env) | _circumstances(options, env) | {"noisy_human": noisy[0].human if noisy else ""}
    write_json(record | {"rows": [asdict(row) for row in rows], "refused": refused}, folder / LEADERBOARD)
    strips = draw_examples(traces, rows[0].policy, options.strips, arguments)
    report = leaderboard_report(rows, frame, record["noisy_human"], record["machine"], strips, refused)
    run.publish(report, wide=True)
    if options.claim:
        write_claims(policies, traces, env, folder / CLAIMS)
    return {"tasks": options.tasks, "policies": [policy.name for policy in policies]}


def _circumstances(options: LeaderboardOptions, env: Any) -> dict[str, Any]:
    """Where and when the numbers were made."""
    import torch

    date = datetime.now(timezone.utc).date().isoformat()
    machine = f"{env.dynamics.generator.device} with {torch.get_num_threads()} threads, {date}"
    played = {name: getattr(options, name) for name in ("tasks", "tasks_per_batch", "resamples", "timed_tasks")}
    return played | {"machine": machine, "date": date, "versions": VERSIONS}


if __name__ == "__main__":
    main()
