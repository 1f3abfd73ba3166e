"""Simulated users fitted to people: ``python -m experiments.fit_users path=Steerability``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from experiments.fit_users.people import observed_stays
from experiments.run import REQUIRED, EnvOptions, Run, RunOptions, command, option
from experiments.run.evaluations import sessions_in
from experiments.run.options import PartsOptions
from experiments.run.parts import env_options
from experiments.run.released.files import load_study
from experiments.run.released.sessions import study_traces
from steer_env.policies import Policy, RandomBucketPolicy, RandomScalePolicy, published_policy
from steer_env.policies.lists import load_policies
from steer_env.policies.names import load_policy
from steer_env.registry import Registry
from steer_env.traces import SteeringTrace


@dataclass
class FitUsersOptions(PartsOptions, RunOptions):
    """Fit simulated users to the people of the released study: to how often they kept the current image.

    One population plays games on the embedded model, and all users' stay rates follow from these games by reweighting.
    The user is fitted: the option human has no effect.

    Args:
        path: as for experiments.study; or a folder of experiments.people, whose people are then those fitted.
        policies: folders of trained policies that steered the people, whose names alone say nothing.
        games: played with each policy that people had, a task of env.suite each.
        tasks_per_batch: how many of them at a time.
    """

    path: str = REQUIRED
    policies: list[str] = option([], unique=True)
    games: int = option(600, least=2)
    tasks_per_batch: int = option(60, least=1, most=65536)
    env: EnvOptions = field(default_factory=lambda: EnvOptions(suite="tiles-val-v1"))


@command(FitUsersOptions)
def main(options: FitUsersOptions, run: Run) -> dict[str, Any]:
    """Read the release, play games with the policies that people had, fit users to people, and report."""
    from experiments.fit_users.report import fit_users, users_report
    from experiments.fit_users.reweighting import play_games
    from steer_env.evaluation.rollout import make_env

    stays = observed_stays(_sessions(Path(options.path).expanduser()))
    env, policies = env_options(options), list(dict.fromkeys(stays.policies))
    suite, rounds = make_env(1, **env).suite, stays.shares.shape[1]
    if options.env.rounds != rounds:
        raise ValueError(f"people played {rounds} rounds: env.rounds must be {rounds}, got {options.env.rounds}")
    most = len(suite) // len(policies)
    if options.games > most:
        raise ValueError(f"games must be 2 to {most}, so that each has its task of {suite.name}, got {options.games}")
    played = [published_policy(), RandomScalePolicy(), RandomBucketPolicy(), *load_policies(options.policies)]
    run.open()
    known = Registry("policy of the study", {policy.name: policy for policy in played})
    games = {}
    for place, name in enumerate(policies):
        tasks = range(place * options.games, (place + 1) * options.games)
        games[name] = play_games(_policy(name, known), tasks, options.tasks_per_batch, **env)
    fitted = fit_users(stays, games)
    setting = f"Games of simulated users: {options.games} of {options.env.rounds} rounds on {options.env.suite} with "
    run.publish(users_report(fitted, f"{setting}each policy that people had."), wide=True)
    return {"games": options.games, "fits": fitted.record()}


def _sessions(path: Path) -> list[SteeringTrace]:
    """Of the release, or of your study with people."""
    return sessions_in([str(path)]) if (path / "traces").is_dir() else study_traces(load_study(path))


def _policy(name: str, known: Any) -> Policy:
    """A built-in policy by its name in traces; a ValueError for any other."""
    kind, _, scales = name.partition(" ")
    if kind in ("constant", "schedule"):
        return cast("Policy", load_policy(f"{kind}:{scales.replace(' ', '-')}"))
    return cast("Policy", known[name])


if __name__ == "__main__":
    main()
