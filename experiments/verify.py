"""Check a claim: ``python -m experiments.verify submission=outputs/theirs folder=outputs/verified``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.claims import check_claim, scores
from agents.registry import policy_folder
from conf import schema
from experiments.playing import check_tasks, play_suite
from experiments.runs import application, check_run, close_run, env_options, open_run, say
from steer_env.evaluation.claims import judge
from steer_env.policies import load_policy

schema.register()


@application("verify")
def main(config: Any) -> None:
    """Play the submission on the tasks that it claims scores on; exit with 1 if the claim doesn't hold."""
    check_run(config)
    options = env_options(config)
    policy = load_policy(policy_folder(config.submission) or Path(config.submission))
    env = check_tasks(2, **options)
    claim = check_claim(policy, env)
    folder = open_run(config)
    traces = play_suite([policy], claim.tasks, config.tasks_per_batch, folder / "traces", noise=config.noise, **options)
    verdict = judge(claim, scores(traces, policy), same_episodes=config.noise == 0)
    close_run(folder, {"policy": policy.name, "claim": asdict(claim), "verdict": asdict(verdict)})
    say(str(verdict))
    if not verdict.holds:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
