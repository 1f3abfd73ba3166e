"""Scores that a policy's card claims: measured, written, and held against what an environment plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from steer_env.envs import ImageSteeringVectorEnv
from steer_env.evaluation.rollout import VERSIONS
from steer_env.evaluation.uncertainty import Estimate, estimate
from steer_env.policies.cards import Claim
from steer_env.policies.stored import PolicyError, StoredPolicy
from steer_env.traces import SteeringTrace


def conditions(env: ImageSteeringVectorEnv) -> dict[str, Any]:
    """What a claim's episodes depend on beside the policy: suite, ids of the parts, rounds and proposals."""
    dynamics = env.dynamics
    return {
        "suite": env.suite.name,
        "generator": dynamics.generator.id,
        "metric": dynamics.metric.id,
        "human": dynamics.human.id,
        "mechanism": env.mechanism,
        "rounds": dynamics.num_rounds,
        "proposals": dynamics.num_proposals,
    }


def scores(traces: Sequence[SteeringTrace], policy: StoredPolicy) -> Estimate:
    """Mean improvement of one training seed's policy."""
    own = [t.improvement for t in traces if (t.policy, t.training_seed) == (policy.name, policy.training_seed)]
    return estimate(np.array(own))


def write_claim(
    policy: StoredPolicy, folder: Path, traces: Sequence[SteeringTrace], env: ImageSteeringVectorEnv
) -> None:
    """State in the card of a policy's folder how it just scored; an earlier claim is replaced."""
    found = scores(traces, policy)
    claim = Claim(
        tasks=found.episodes, improvement=found.value, error=found.error, versions=VERSIONS, **conditions(env)
    )
    policy.card = replace(policy.card, claim=claim)
    policy.save(folder)


def check_claim(policy: StoredPolicy, env: ImageSteeringVectorEnv) -> Claim:
    """The claim of a policy's card, if this environment can verify it.

    Raises:
        PolicyError: no claim, one about other conditions, or about more tasks than the suite has.
    """
    claim = policy.card.claim
    if claim is None:
        raise PolicyError(
            f"the card of {policy.name!r} claims no scores: experiments.leaderboard writes them, claim=true"
        )
    here = conditions(env)
    other = [
        f"{name} {getattr(claim, name)}, not {value}" for name, value in here.items() if getattr(claim, name) != value
    ]
    if other:
        raise PolicyError(f"the claim of {policy.name!r} is about {'; '.join(other)}: change env to verify it")
    if claim.tasks > len(env.suite):
        raise PolicyError(
            f"the claim of {policy.name!r} is about {claim.tasks} tasks; {claim.suite} has {len(env.suite)}"
        )
    return claim
