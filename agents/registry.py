"""Policies by name: the built-in baselines, users who write prompts, and folders that training left."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from agents.bandits import make_bandit
from agents.checkpoints import CHECKPOINT
from steer_env import assets
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Section
from steer_env.language import Writer
from steer_env.language.prompters import WRITTEN
from steer_env.policies import (
    POLICY_FILE,
    Policy,
    RandomBucketPolicy,
    RandomScalePolicy,
    TablePolicy,
    load_policy,
    published_policy,
)
from steer_env.policies.cards import check_name, likeness
from steer_env.policies.stored import PolicyError, StoredPolicy
from steer_env.prompters import load_prompter
from steer_env.registry import Registry
from steer_env.traces import read_traces
from steer_env.types import Prompter


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split("-")]
    except ValueError as error:
        raise ValueError(f"{text!r} isn't mixture scales such as 1.0-0.8-0.6-0.4") from error


def _written(name: str, writer: Writer | None) -> Prompter:
    if writer is None:
        raise ValueError("prompts written by a language model need one: writer=endpoint or writer=local")
    return WRITTEN[name](writer)


BUILT_IN: Registry[Callable[[str, Writer | None], Policy | Prompter]] = Registry(
    "policy",
    {
        "random-bucket": lambda *_: RandomBucketPolicy(),
        "random-session": lambda *_: RandomScalePolicy(),
        "constant": lambda text, _: TablePolicy.schedule(f"constant {text}", _numbers(text)),
        "schedule": lambda text, _: TablePolicy.schedule(f"schedule {text.replace('-', ' ')}", _numbers(text)),
        "published": lambda *_: published_policy(),
        "best-known": lambda *_: load_policy(assets.verified(assets.ROOT / "best-known")),
        "text": lambda name, _: load_prompter(name),
        "written": _written,
    },
)
"""Name → policy or prompter from what follows the colon, and from who writes, if anybody does."""
_TAKEN = ("random bucket", "random scale per session", "published", "best known")
_FAMILIES = ("constant", "schedule", "text")
"""What built-in policies call themselves, and how those with options begin."""


def expand(specs: Sequence[str]) -> list[str]:
    """Names as they are; patterns such as ``outputs/sweep/*`` as the folders that match and hold a policy.

    Raises:
        ValueError: a pattern that no folder with a policy matches.
    """
    return [found for spec in specs for found in (_matches(spec) if glob.has_magic(spec) else [spec])]


def _matches(pattern: str) -> list[str]:
    found = [path for path in sorted(glob.glob(pattern)) if policy_folder(path)]  # noqa: PTH207
    if not found:
        raise ValueError(f"no folder with a policy matches {pattern}")
    return found


def policy_folder(spec: str) -> Path | None:
    """The folder that holds ``policy.json``: of a training run or of a submission; None for a built-in policy."""
    folders = (Path(spec), Path(spec) / "policy")
    return next((folder for folder in folders if (folder / POLICY_FILE).is_file()), None)


def check_apart(folder: str | Path, specs: Sequence[str]) -> None:
    """Nothing is written into the folder of a policy that is played.

    Raises:
        ValueError: the folder is one, or lies in one.
    """
    for spec in specs:
        if spec.partition(":")[0] not in BUILT_IN and Path(folder).resolve().is_relative_to(Path(spec).resolve()):
            raise ValueError(f"folder={folder} is where the policy {spec} is kept: choose another folder")


def resolve_policies(
    specs: Sequence[str], writer: Writer | None = None, rounds: int = 0, refused: dict[str, str] | None = None
) -> list[Policy | Prompter]:
    """Policies from names such as ``constant:0.9`` or folders of training runs; prompters from ``text:attribute``.

    Args:
        specs: names and folders.
        writer: who writes for ``written:blind`` and ``written:feedback``.
        rounds: that folders' policies are to play, so that one that can't is refused beforehand; 0 for unknown.
        refused: receives why a folder's policy isn't taken, by folder, in the place of an error.

    Raises:
        ValueError: an unknown name, a folder without a policy, or the same built-in policy twice.
        PolicyError: a folder's policy that is damaged, passes for another one by its name, is listed twice, or differs
            in more than its seed from another training of its name.
    """
    policies: list[Policy | Prompter] = []
    for spec in specs:
        try:
            policy = _resolve(spec, writer)
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


def _resolve(spec: str, writer: Writer | None) -> Policy | Prompter:
    name, _, rest = spec.partition(":")
    if name in BUILT_IN:
        return BUILT_IN[name](rest, writer)
    folder = policy_folder(spec)
    if folder is None:
        if "/" in name:
            raise ValueError(f"{spec} holds no policy: train one there first with experiments.train folder={spec}")
        return BUILT_IN[name](rest, writer)
    policy = load_policy(folder)
    try:
        check_own_name(policy.name)
    except ValueError as error:
        raise PolicyError(f"{spec}: {error}") from None
    return policy


def check_own_name(name: str) -> str:
    """A plain name that can't be mistaken for a built-in policy's.

    Raises:
        ValueError: it can, or isn't plain.
    """
    seen, *taken = (likeness(each).replace(" ", "") for each in (check_name(name), *_TAKEN, *_FAMILIES))
    if seen in taken or seen.startswith(tuple(taken[len(_TAKEN) :])):
        raise ValueError(
            f"a policy is called {name!r}, like a built-in one: {', '.join(_TAKEN)}, and what begins with "
            f"{', '.join(_FAMILIES)}; give it a name of its own"
        )
    return name


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


def learning_section(folder: Path) -> Section:
    """How the policy of a training run was learned: its curve, and a bandit's value function (the paper's Figure 8)."""
    checkpoint = json.loads((folder / CHECKPOINT).read_text())
    identity = checkpoint["identity"]
    improvements = np.array([trace.improvement for trace in read_traces(folder / "traces")])
    figures = [plots.training_curve(improvements)]
    text = f"{len(improvements)} episodes on {identity['suite']}, seed {identity['seed']}. "
    text += "Improvement over training, with 95 % intervals."
    if "kind" in identity:
        agent = make_bandit(identity["rounds"], identity)
        agent.restore(checkpoint["agent"])
        figures.append(plots.value_function(agent.means, agent.deviations, agent.counts))
        text += f" {agent.meaning}. A star marks the best scale."
    return Section(f"What was learned (Figure 8): {folder.name}", text, figures=figures)
