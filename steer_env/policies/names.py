"""Policies by name: built-in ones, users who write prompts, and folders that training left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steer_env import assets
from steer_env.humans.writers import Writer
from steer_env.limits import Limited, option, whole
from steer_env.policies import POLICY_FILE, Policy, SoftPolicy, TablePolicy, read_policy
from steer_env.policies.cards import check_name, check_text, likeness
from steer_env.policies.stored import PolicyError, StoredPolicy
from steer_env.registry import NoOptions, Part, Parts, Registry, Spec, build, own_part
from steer_env.types import Prompter


@dataclass
class ScheduleOptions:
    """A mixture scale for each round, whatever has happened; the last one for all further rounds.

    Args:
        scales: such as ``1.0-0.8-0.6-0.4``, or one for all rounds.
    """

    scales: str


@dataclass
class PrompterOptions:
    """A user who writes prompts.

    Args:
        prompter: blind, who never sees the goal or an image; feedback, who sees how similar the images were; or, by
            rule, attribute, who sees the goal, and person, who rewrites as people do.
    """

    prompter: str


@dataclass
class ExploringOptions(Limited):
    """Plays a bucket at random in a share of rounds: sessions of it serve to evaluate any policy off policy.

    Args:
        policy: what it plays in the other rounds: published, best-known, or the folder of a policy.
        explore: that share, above 0 and at most 1.
    """

    policy: str = "published"
    explore: float = option(0.5, least=1e-6, most=1)


_HERE = "steer_env.policies.names"
POLICIES: Parts = Registry(
    "policy",
    {
        "random-bucket": Part(NoOptions, "steer_env.policies:RandomBucketPolicy"),
        "random-session": Part(NoOptions, "steer_env.policies:RandomScalePolicy"),
        "constant": Part(ScheduleOptions, f"{_HERE}:_constant", "scales"),
        "schedule": Part(ScheduleOptions, f"{_HERE}:_schedule", "scales"),
        "published": Part(NoOptions, "steer_env.policies:published_policy"),
        "best-known": Part(NoOptions, f"{_HERE}:_best_known"),
        "exploring": Part(ExploringOptions, f"{_HERE}:_exploring"),
        "text": Part(PrompterOptions, f"{_HERE}:_by_rule", "prompter"),
        "written": Part(PrompterOptions, f"{_HERE}:_by_model", "prompter"),
    },
)

_TAKEN = ("random bucket", "random scale per session", "published", "best known")
_FAMILIES = ("constant", "schedule", "exploring", "text")
"""Names of built-in policies, and how the names of built-in policies with options begin."""


def _constant(scales: str) -> TablePolicy:
    return _schedule(scales, f"constant {scales}")


def _schedule(scales: str, name: str = "") -> TablePolicy:
    try:
        numbers = [float(part) for part in scales.split("-")]
    except ValueError as error:
        raise ValueError(f"{scales!r} isn't mixture scales such as 1.0-0.8-0.6-0.4") from error
    return TablePolicy.schedule(name or f"schedule {scales.replace('-', ' ')}", numbers)


def _best_known() -> StoredPolicy:
    return read_policy(assets.verified(assets.ROOT / "best-known"))


def _exploring(policy: str = ExploringOptions.policy, explore: float = ExploringOptions.explore) -> SoftPolicy:
    base = load_policy(policy)
    if isinstance(base, Prompter):
        raise ValueError(f"exploring needs a policy that chooses scales, not {policy!r}")
    return SoftPolicy(base, explore)


def _by_rule(prompter: str) -> Prompter:
    from steer_env.humans import load_prompter

    return load_prompter(prompter)


def _by_model(prompter: str, writer: Writer | None = None) -> Prompter:
    from steer_env.humans.writers import WrittenPrompter

    if writer is None:
        raise ValueError("prompts written by a language model need one: writer=endpoint or writer=local")
    return WrittenPrompter(prompter, writer)


def load_policy(spec: Spec[Policy] | Prompter | Path, writer: Writer | None = None) -> Policy | Prompter:
    """A policy, or a user who writes prompts.

    Args:
        spec: a built-in one such as ``constant:0.9``, ``best-known`` or ``text:attribute``; else the folder of a
            policy or of a training run, ``./best-known`` for one with a built-in one's name. A policy itself is
            returned unchanged.
        writer: the language model that writes for ``written:blind`` and ``written:feedback``.

    Raises:
        ValueError: an unknown name or option.
        PolicyError: a folder without a policy, or with one that is damaged or has a built-in one's name.
    """
    if isinstance(spec, Path):
        return own_policy(policy_folder(spec) or spec)
    if not isinstance(spec, str | Mapping):
        way = "write" if hasattr(spec, "write") else "act"
        own = own_part("policy", spec, "name", "training_seed", "start", way)
        check_text("name of a policy", own.name)
        whole("training_seed", own.training_seed, -1, 2**63 - 1)
        return own
    if isinstance(spec, str) and parse_name(spec) not in POLICIES:
        folder = policy_folder(spec)
        if folder is not None:
            return own_policy(folder)
        if "/" in spec or Path(spec).exists():
            raise PolicyError(f"{spec} holds no policy: train one there first with experiments.train folder={spec}")
    policy: Policy | Prompter = build(POLICIES, spec, writer=writer)
    return policy


def parse_name(spec: str) -> str:
    """The name in a spec, without options.

    >>> parse_name("constant:0.9")
    'constant'
    """
    return spec.partition(":")[0].strip()


def policy_folder(place: str | Path) -> Path | None:
    """The folder that holds ``policy.json``, of a training run or of a submission; None for a built-in policy."""
    if isinstance(place, str) and parse_name(place) in POLICIES:
        return None
    top = Path(place).expanduser()
    return next((folder for folder in (top, top / "policy") if (folder / POLICY_FILE).is_file()), None)


def own_policy(folder: Path) -> StoredPolicy:
    """The policy in a folder; a PolicyError where there is none, or one that may be mistaken for a built-in one."""
    policy = read_policy(folder)
    try:
        check_own_name(policy.name)
    except ValueError as error:
        raise PolicyError(f"{folder}: {error}") from None
    return policy


def check_own_name(name: str) -> str:
    """The name; a ValueError if it isn't plain, or may be mistaken for a built-in policy's."""
    seen, *reserved = (likeness(each).replace(" ", "") for each in (check_name(name), *_TAKEN, *_FAMILIES))
    if seen in reserved or seen.startswith(tuple(reserved[len(_TAKEN) :])):
        raise ValueError(
            f"a policy is called {name!r}, like a built-in one: {', '.join(_TAKEN)}, and what begins with "
            f"{', '.join(_FAMILIES)}; give it a name of its own"
        )
    return name
