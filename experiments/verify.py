"""Play a submission: ``python -m experiments.verify submission=outputs/theirs claim=0.21``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.run import REQUIRED, PlayOptions, Run, command, option, say
from experiments.run.parts import env_options
from steer_env.policies import read_policy
from steer_env.policies.lists import check_apart
from steer_env.policies.names import policy_folder


@dataclass
class VerifyOptions(PlayOptions):
    """Play a submitted policy, and say whether the scores that are claimed of it hold.

    The exit status is 0 if the claimed mean improvement is the measured one: up to rounding where tasks and noise are
    the claim's own, else by a z-test of their difference at 5 %; otherwise it is 1. Tasks and noise are chosen here,
    whatever is claimed. Nothing in the submission is run, and nothing is written there.

    Args:
        submission: a policy's folder, or that of a training run.
        claim: a file that experiments.leaderboard left in claims/, a mean improvement such as 0.21, or empty for none.
        noise: 0 for the noise that experiments.leaderboard plays with; another number for fresh noise, against a policy
            that was chosen for its luck with that one.
    """

    submission: str = REQUIRED
    claim: str = ""
    tasks: int = option(200, least=2)
    noise: int = option(1, least=0)


@command(VerifyOptions)
def main(options: VerifyOptions, run: Run) -> dict[str, Any]:
    """Play the submission on tasks of the verifier's choice; exit with 1 if what is claimed of it doesn't hold."""
    from agents.claims import read_claim, scores
    from experiments.run.playing import check_tasks, play_suite
    from steer_env.evaluation.claims import judge
    from steer_env.evaluation.rollout import check_fit, options_for

    arguments = env_options(options)
    check_apart(run.folder, [options.submission])
    policy = read_policy(policy_folder(options.submission) or Path(options.submission).expanduser())
    policy.rehearse(options.env.rounds)
    check_fit(policy, arguments)
    env = check_tasks(options.tasks, **options_for([policy], arguments))
    claim = read_claim(options.claim, policy, env) if options.claim else None
    size = (options.tasks, options.tasks_per_batch)
    traces = play_suite([policy], *size, run.open() / "traces", noise=options.noise, **arguments)
    measured = scores(traces, policy)
    result: dict[str, Any] = {"policy": policy.name, "content": policy.content(), "found": asdict(measured)}
    if claim is None:
        say(f"found {measured} on {options.tasks} tasks; nothing is claimed")
        return result
    verdict = judge(claim, measured, same_episodes=(claim.tasks, claim.noise) == (options.tasks, options.noise))
    say(str(verdict))
    run.status = 0 if verdict.holds else 1
    return {**result, "claim": asdict(claim), "verdict": asdict(verdict)}


if __name__ == "__main__":
    main()
