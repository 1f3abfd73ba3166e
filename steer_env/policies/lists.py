"""Lists of policies for one table: patterns of folders, and policies that may stand beside each other."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steer_env.policies import Policy
from steer_env.policies.cards import likeness
from steer_env.policies.names import POLICIES, load_policy, parse_name, policy_folder
from steer_env.policies.stored import PolicyError, StoredPolicy
from steer_env.types import Prompter

if TYPE_CHECKING:
    from steer_env.humans.writers import Writer


def expand(specs: Sequence[str]) -> list[str]:
    """Names as they are; patterns such as ``outputs/sweep/*`` as the folders that match and hold a policy.

    Raises:
        ValueError: a pattern that no folder with a policy matches.
    """
    return [name for spec in specs for name in (_matches(spec) if _is_pattern(spec) else [spec])]


def _is_pattern(spec: str) -> bool:
    """A folder that is there is meant itself, whatever its name."""
    return glob.has_magic(spec) and parse_name(spec) not in POLICIES and not Path(spec).expanduser().exists()


def _matches(pattern: str) -> list[str]:
    paths = sorted(glob.glob(str(Path(pattern).expanduser())))  # noqa: PTH207
    matching = [path for path in paths if policy_folder(Path(path))]
    if not matching:
        raise ValueError(f"no folder with a policy matches {pattern}")
    return [f"./{path}" if parse_name(path) in POLICIES else path for path in matching]


def check_apart(folder: str | Path, specs: Sequence[str]) -> None:
    """Nothing is written into the folder of a policy that is played.

    Raises:
        ValueError: the folder is one, or lies in one.
    """
    for spec in specs:
        place = Path(spec).expanduser().resolve()
        if parse_name(spec) not in POLICIES and Path(folder).expanduser().resolve().is_relative_to(place):
            raise ValueError(f"folder={folder} is where the policy {spec} is kept: choose another folder")


def load_policies(
    specs: Sequence[str], writer: Writer | None = None, rounds: int = 0, refused: dict[str, str] | None = None
) -> list[Policy | Prompter]:
    """Several policies for one table.

    Args:
        specs, writer: see :func:`steer_env.policies.names.load_policy`.
        rounds: that folders' policies are to play, so that one that can't is refused beforehand; 0 for unknown.
        refused: receives why a folder's policy isn't taken, by folder, in the place of an error.

    Raises:
        ValueError: an unknown name or option, or the same built-in policy twice.
        PolicyError: a folder's policy that is missing or damaged, passes for another one by its name, is listed twice,
            or differs in more than its seed from another training of its name.
    """
    policies: list[Policy | Prompter] = []
    for spec in specs:
        try:
            policy = load_policy(spec, writer)
            _check_beside(policy, policies)
            if isinstance(policy, StoredPolicy):
                policy.rehearse(rounds)
        except PolicyError as error:
            if refused is None or not policy_folder(spec):
                raise
            refused[spec] = "".join(letter if letter.isprintable() else "?" for letter in str(error))
        else:
            policies.append(policy)
    return policies


def _check_beside(policy: Policy | Prompter, others: Sequence[Policy | Prompter]) -> None:
    """May the policy stand in one table with those before it?"""
    record = policy.card.training if isinstance(policy, StoredPolicy) else None
    for other in others:
        if (other.name, other.training_seed) == (policy.name, policy.training_seed):
            raise PolicyError(
                f"policy {policy.name!r} is listed twice; give trained agents their own agent.name or seed"
            )
        if other.name != policy.name and likeness(other.name) == likeness(policy.name):
            raise PolicyError(f"a policy is called {policy.name!r}, which looks like {other.name!r}: rename it")
        if other.name == policy.name and isinstance(other, StoredPolicy) and other.card.training != record:
            raise PolicyError(
                f"policies called {policy.name!r} were trained differently: only the seed may differ between the "
                "trainings of one row; give them names of their own by agent.name"
            )
