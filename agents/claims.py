"""Claims about policies: written where they were measured, and read where they are verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agents.files import write_json
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.claims import Claim
from steer_env.evaluation.uncertainty import Estimate, estimate
from steer_env.files import read_json
from steer_env.policies import Policy
from steer_env.policies.stored import PolicyError, StoredPolicy
from steer_env.traces import SteeringTrace
from steer_env.types import Prompter
from steer_env.versions import VERSIONS


def conditions(env: ImageSteeringVectorEnv) -> dict[str, Any]:
    """What a claim's episodes depend on beside the policy: suite, ids of the parts, rounds and proposals."""
    dynamics = env.dynamics
    return {
        "suite": env.suite.name,
        "generator": dynamics.generator.id,
        "metric": dynamics.metric.id,
        "human": dynamics.human.id,
        "mechanism": env.mechanism_id,
        "rounds": dynamics.num_rounds,
        "proposals": dynamics.num_proposals,
    }


def scores(traces: Sequence[SteeringTrace], policy: StoredPolicy) -> Estimate:
    """Mean improvement of one training seed's policy."""
    own = [t.improvement for t in traces if (t.policy, t.training_seed) == (policy.name, policy.training_seed)]
    return estimate(np.array(own))


def write_claims(
    policies: Sequence[Policy | Prompter], traces: Sequence[SteeringTrace], env: ImageSteeringVectorEnv, folder: Path
) -> None:
    """State how stored policies just scored, each in a file of the folder that is called as its content."""
    for policy in policies:
        if isinstance(policy, StoredPolicy):
            measured = scores(traces, policy)
            # A policy that decides more than scales brings the mechanism.
            played = next(trace.mechanism for trace in traces if trace.policy == policy.name)
            claim = Claim(
                **_about(policy, env) | {"mechanism": played},
                improvement=measured.value,
                error=measured.error,
                tasks=measured.episodes,
                noise=0,
                versions=VERSIONS,
            )
            write_json(asdict(claim), folder / f"{policy.content()}.json")


def read_claim(stated: str, policy: StoredPolicy, env: ImageSteeringVectorEnv) -> Claim:
    """What is claimed of a policy, if it is about what this environment plays.

    Args:
        stated: a file that :func:`write_claims` left, or a mean improvement, of unknown episodes.
        policy: that it should be about.
        env: that the policy is to be played in.

    Raises:
        PolicyError: neither a file with a claim nor a number; or a claim about another policy or other conditions.
    """
    about = _about(policy, env)
    try:
        if not Path(stated).expanduser().is_file():
            return Claim(**about, improvement=float(stated))
        claim = Claim(**read_json(Path(stated).expanduser()))
    except (OSError, TypeError, ValueError) as error:
        raise PolicyError(f"{stated} is neither a number nor a file with a claim: {error}") from error
    if claim.content != policy.content():
        raise PolicyError(f"{stated} is about another policy, called {claim.policy!r}")
    stands = asdict(claim)
    other = [f"{name} {stands[name]}, not {value}" for name, value in about.items() if stands[name] != value]
    if other:
        raise PolicyError(f"{stated} is about {'; '.join(other)}: change env to verify it")
    return claim


def _about(policy: StoredPolicy, env: ImageSteeringVectorEnv) -> dict[str, Any]:
    return {"policy": policy.name, "content": policy.content(), **conditions(env)}
