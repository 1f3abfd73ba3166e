"""Simulated users fitted to people: ``python -m experiments.fit_users path=Steerability folder=outputs/users``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conf import schema
from experiments.runs import application, check_run, close_run, env_options, open_run, publish, stop
from steer_env.evaluation.rollout import make_env
from steer_env.policies import Policy, RandomScalePolicy, published_policy
from steer_env.registry import Registry
from steer_env.study.files import load_study
from steer_env.study.games import Games, play_games
from steer_env.study.sessions import study_traces
from steer_env.study.stays import Stays, observed_stays
from steer_env.study.user_report import fit_users, users_report

schema.register()

POLICIES: Registry[Policy] = Registry(
    "policy of the study", {policy.name: policy for policy in (published_policy(), RandomScalePolicy())}
)


@application("fit_users")
def main(config: Any) -> None:
    """Read the release, play games with the policies that people had, fit users to people, and report."""
    check_run(config)
    stays = observed_stays(study_traces(load_study(Path(config.path))))
    _check(config, stays)
    folder = open_run(config)
    try:
        games = _play(config, stays)
    except KeyboardInterrupt:
        stop(folder)
    fitted = fit_users(stays, games)
    suite, rounds = config.env.suite, config.env.rounds
    setting = (
        f"Games of simulated users: {config.games} of {rounds} rounds on {suite} with each policy that people had."
    )
    publish(users_report(fitted, setting), folder, wide=True)
    close_run(folder, {"games": config.games, "fits": fitted.record()})


def _check(config: Any, stays: Stays) -> None:
    """Can such games be played?

    Raises:
        ValueError: other rounds than people had, too few games for an error or too many for the suite, or no batch.
    """
    env, played = make_env(1, **env_options(config)), stays.shares.shape[1]
    if config.env.rounds != played:
        raise ValueError(f"people played {played} rounds: env.rounds must be {played}, got {config.env.rounds}")
    most = len(env.suite) // len(set(stays.policies))
    if not 2 <= config.games <= most:
        raise ValueError(
            f"games must be 2 to {most}, so that each has its task of {env.suite.name}, got {config.games}"
        )
    if config.tasks_per_batch < 1:
        raise ValueError(f"tasks_per_batch must be at least 1, got {config.tasks_per_batch}")


def _play(config: Any, stays: Stays) -> dict[str, Games]:
    """By policy, each on tasks of its own."""
    policies = [POLICIES[name] for name in dict.fromkeys(stays.policies)]
    return {
        policy.name: play_games(
            policy, range(i * config.games, (i + 1) * config.games), config.tasks_per_batch, **env_options(config)
        )
        for i, policy in enumerate(policies)
    }


if __name__ == "__main__":
    main()
