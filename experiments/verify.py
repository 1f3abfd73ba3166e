"""Play a submission: ``python -m experiments.verify submission=outputs/theirs claim=0.21 folder=outputs/verified``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.claims import read_claim, scores
from agents.registry import check_apart, policy_folder
from conf import schema
from experiments.playing import check_tasks, play_suite
from experiments.runs import application, check_run, close_run, env_options, open_run, say
from steer_env.evaluation.claims import judge
from steer_env.policies import load_policy

schema.register()


@application("verify")
def main(config: Any) -> None:
    """Play the submission on tasks of the verifier's choice; exit with 1 if what is claimed of it doesn't hold."""
    check_run(config)
    options = env_options(config)
    check_apart(config.folder, [config.submission])
    policy = load_policy(policy_folder(config.submission) or Path(config.submission))
    policy.rehearse(config.env.rounds)
    env = check_tasks(config.tasks, **options)
    claim = read_claim(config.claim, policy, env) if config.claim else None
    folder = open_run(config)
    traces = play_suite([policy], config.tasks, config.tasks_per_batch, folder / "traces", config.noise, **options)
    found = scores(traces, policy)
    result: dict[str, Any] = {"policy": policy.name, "content": policy.content(), "found": asdict(found)}
    if claim is None:
        close_run(folder, result)
        say(f"found {found.mean:.4f} ({found.error:.4f}) on {config.tasks} tasks; nothing is claimed")
        return
    verdict = judge(claim, found, same_episodes=(claim.tasks, claim.noise) == (config.tasks, config.noise))
    close_run(folder, {**result, "claim": asdict(claim), "verdict": asdict(verdict)})
    say(str(verdict))
    if not verdict.holds:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
