"""Several policies for one table."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from steer_env.humans.writers import Writer
from steer_env.policies import Policy
from steer_env.policies.cards import likeness
from steer_env.policies.names import POLICIES, load_policy, parse_name, policy_folder
from steer_env.policies.stored import PolicyError, StoredPolicy
from steer_env.registry import Spec
from steer_env.types import Prompter


def expand(specs: Sequence[str]) -> list[str]:
    """Replace patterns such as ``outputs/sweep/*`` by the matching folders with a policy.

    Raises:
        ValueError: a pattern that no folder with a policy matches.
    """
    names: list[str] = []
    for spec in specs:
        place = Path(spec).expanduser()
        if not glob.has_magic(spec) or parse_name(spec) in POLICIES or place.exists():
            names.append(spec)
            continue
        matching = [path for path in sorted(glob.glob(str(place))) if policy_folder(Path(path))]  # noqa: PTH207
        if not matching:
            raise ValueError(f"no folder with a policy matches {spec}")
        names += [f"./{path}" if parse_name(path) in POLICIES else path for path in matching]
    return names


def check_apart(folder: str | Path, specs: Sequence[str]) -> None:
    """Raises a ValueError if the folder for results is a played policy's, or lies in one."""
    here = Path(os.path.realpath(Path(folder).expanduser()))
    for spec in specs:
        # Path.resolve raises where links lead in a circle.
        if parse_name(spec) not in POLICIES and here.is_relative_to(os.path.realpath(Path(spec).expanduser())):
            raise ValueError(f"folder={folder} is where the policy {spec} is kept: choose another folder")


def load_policies(
    specs: Sequence[Spec[Policy] | Prompter | Path],
    writer: Writer | None = None,
    rounds: int = 0,
    refused: dict[str, str] | None = None,
    check: Callable[[Policy | Prompter], None] = lambda _: None,
) -> list[Policy | Prompter]:
    """Several policies for one table.

    Args:
        specs, writer: see :func:`steer_env.policies.names.load_policy`.
        rounds: of an episode; a folder's policy that can't play so many is refused; 0 for unknown.
        refused: receives an error's message by folder, instead of the error. Among what strangers sent, a policy that
            does what another of its name does is refused, too: a copy isn't another training.
        check: raises a PolicyError for a policy that can't be played where it is to be.

    Raises:
        ValueError: an unknown name or option, or the same built-in policy twice.
        PolicyError: a folder's policy that is missing or damaged, looks like another by its name, is listed twice, or
            differs in more than its seed from another training of its name.
    """
    policies: list[Policy | Prompter] = []
    for spec in specs:
        try:
            policy = load_policy(spec, writer)
            _check_beside(policy, policies)
            if refused is not None and isinstance(policy, StoredPolicy):
                _check_no_copy(policy, policies)
            if isinstance(policy, StoredPolicy):
                check(policy)
                policy.rehearse(rounds)
        except PolicyError as error:
            if refused is None or not isinstance(spec, str) or not Path(spec).expanduser().is_dir():
                raise
            refused[spec] = "".join(letter if letter.isprintable() else "?" for letter in str(error))
        else:
            policies.append(policy)
    return policies


def _check_beside(policy: Policy | Prompter, others: Sequence[Policy | Prompter]) -> None:
    """Raises a PolicyError if the policy can't be in one table with the others."""
    record = policy.card.training if isinstance(policy, StoredPolicy) else None
    for other in others:
        if (other.name, other.training_seed) == (policy.name, policy.training_seed):
            raise PolicyError(
                f"policy {policy.name!r} is listed twice; give trained agents their own agent.name or seed"
            )
        if other.name != policy.name and likeness(other.name) == likeness(policy.name):
            raise PolicyError(f"a policy is called {policy.name!r}, which looks like {other.name!r}: rename it")
        alike = isinstance(other, StoredPolicy) and isinstance(policy, StoredPolicy) and other.card.training == record
        if other.name == policy.name and not alike:
            raise PolicyError(
                f"policies called {policy.name!r} were trained differently: only the seed may differ between the "
                "trainings of one row; give them names of their own by agent.name"
            )


def _check_no_copy(policy: StoredPolicy, others: Sequence[Policy | Prompter]) -> None:
    """Raises a PolicyError for a policy of another's name, but for its seed, with the same scales to half a bucket."""
    for other in others:
        if isinstance(other, StoredPolicy) and other.name == policy.name and policy.is_like(other):
            raise PolicyError(
                f"policy {policy.name!r} with seed {policy.training_seed} does what the one with seed "
                f"{other.training_seed} does: a copy is no further training"
            )
