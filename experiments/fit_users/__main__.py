"""Simulated users fitted to people: ``python -m experiments.fit_users path=Steerability``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.run import REQUIRED, EnvOptions, Run, RunOptions, command, option
from experiments.run.options import PartsOptions

if TYPE_CHECKING:
    from experiments.fit_users.people import Stays
    from experiments.fit_users.reweighting import Games


@dataclass
class FitUsersOptions(PartsOptions, RunOptions):
    """Fit simulated users to the people of the released study: to how often they kept the current image.

    One population plays games on the embedded model, and all users' stay rates follow from these games by reweighting.
    The user is fitted: the option human has no effect.

    Args:
        path: as for experiments.study.
        games: played with each policy that people had, a task of env.suite each.
        tasks_per_batch: how many of them at a time.
    """

    path: str = REQUIRED
    games: int = option(600, least=2)
    tasks_per_batch: int = option(60, least=1)
    env: EnvOptions = field(default_factory=lambda: EnvOptions(suite="tiles-val-v1"))


@command(FitUsersOptions)
def main(options: FitUsersOptions, run: Run) -> dict[str, Any]:
    """Read the release, play games with the policies that people had, fit users to people, and report."""
    from experiments.fit_users.people import observed_stays
    from experiments.fit_users.report import fit_users, users_report
    from experiments.run.released.files import load_study
    from experiments.run.released.sessions import study_traces

    stays = observed_stays(study_traces(load_study(Path(options.path).expanduser())))
    _check(options, stays)
    run.open()
    fitted = fit_users(stays, _play(options, stays))
    setting = f"Games of simulated users: {options.games} of {options.env.rounds} rounds on {options.env.suite} with "
    run.publish(users_report(fitted, f"{setting}each policy that people had."), wide=True)
    return {"games": options.games, "fits": fitted.record()}


def _check(options: FitUsersOptions, stays: Stays) -> None:
    """Can such games be played?

    Raises:
        ValueError: other rounds than people had, or too many games for the suite.
    """
    from experiments.run.parts import env_options
    from steer_env.evaluation.rollout import make_env

    env, played = make_env(1, **env_options(options)), stays.shares.shape[1]
    if options.env.rounds != played:
        raise ValueError(f"people played {played} rounds: env.rounds must be {played}, got {options.env.rounds}")
    most = len(env.suite) // len(set(stays.policies))
    if options.games > most:
        raise ValueError(
            f"games must be 2 to {most}, so that each has its task of {env.suite.name}, got {options.games}"
        )


def _play(options: FitUsersOptions, stays: Stays) -> dict[str, Games]:
    """By policy, each on tasks of its own."""
    from experiments.fit_users.reweighting import play_games
    from experiments.run.parts import env_options
    from steer_env.policies import RandomScalePolicy, published_policy
    from steer_env.registry import Registry

    policies = (published_policy(), RandomScalePolicy())
    known = Registry("policy of the study", {policy.name: policy for policy in policies})
    games, env = options.games, env_options(options)
    return {
        name: play_games(known[name], range(i * games, (i + 1) * games), options.tasks_per_batch, **env)
        for i, name in enumerate(dict.fromkeys(stays.policies))
    }


if __name__ == "__main__":
    main()
