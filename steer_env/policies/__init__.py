"""Steering policies: they choose the mixture scale of each round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from steer_env.files import read_json, seal
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.policies.histories import HistoryPolicy
from steer_env.policies.stored import POLICY_FILE, PolicyError, ScalesPolicy, StoredPolicy, listed
from steer_env.proposals import BUCKETS, bucket_scales

Observation = Mapping[str, np.ndarray]


class Policy(Protocol):
    """Chooses mixture scales for N episodes at a time; ``training_seed`` is −1 without a training."""

    name: str
    training_seed: int

    def start(self, episode_seeds: Sequence[int]) -> None:
        """Begin N episodes; whatever the policy draws at random comes from these seeds."""

    def act(self, observation: Observation) -> np.ndarray:
        """Observation with ``round`` and ``stayed``, int (N,) → mixture scales float64 (N,) in [0, 1]."""


@runtime_checkable
class ExploringPolicy(Policy, Protocol):
    """A policy that draws scales at random, and knows how likely they were: what off-policy evaluation needs."""

    def propensity(self, scales: np.ndarray) -> np.ndarray:
        """Probability that the last :meth:`act` would give these scales, float (N,) each, at what it had seen."""


class TablePolicy(ScalesPolicy):
    """A scale for each (round, stayed): every constant, schedule and learned bandit policy is one.

    Args:
        scales: float (R, 2), for round r + 1 and stayed 0 or 1. Rounds past the last use the last.
        name, training_seed, card: see :class:`steer_env.policies.stored.StoredPolicy`.

    Raises:
        PolicyError: another shape, or a scale outside [0, 1].
    """

    kind = "table"
    order = "(moved, stayed) for each round"

    def __init__(self, name: str, scales: np.ndarray, training_seed: int = -1, card: PolicyCard | None = None) -> None:
        shape = {np.shape(row) for row in listed(name, scales)}
        if shape != {(2,)}:
            raise PolicyError(f"policy {name!r}: scales must have shape (rounds, 2), got rows of {sorted(shape)}")
        super().__init__(name, list(scales), training_seed, card)

    @property
    def scales(self) -> np.ndarray:
        """Float (R, 2), for round r + 1 and stayed 0 or 1."""
        return np.stack(self._rows)

    @classmethod
    def schedule(cls, name: str, scales: Sequence[float]) -> TablePolicy:
        """A scale for each round, whether the user stayed or not."""
        return cls(name, np.array([np.repeat(scale, 2) for scale in listed(name, scales)]))

    def act(self, observation: Observation) -> np.ndarray:
        return self.scales[np.minimum(observation["round"], len(self._rows) - 1), observation["stayed"]]


class RandomBucketPolicy:
    """A bucket drawn anew in every round."""

    name, training_seed = "random bucket", -1

    def start(self, episode_seeds: Sequence[int]) -> None:
        self._rngs = [np.random.default_rng([seed, 1]) for seed in episode_seeds]

    def act(self, observation: Observation) -> np.ndarray:
        return bucket_scales(np.array([rng.integers(BUCKETS) for rng in self._rngs]))

    def propensity(self, scales: np.ndarray) -> np.ndarray:
        """See :class:`ExploringPolicy`."""
        return on_buckets(scales) / BUCKETS


def on_buckets(scales: np.ndarray) -> np.ndarray:
    """Which scales float (N,) are those of a bucket, bool (N,)."""
    return np.isclose(scales * BUCKETS, np.rint(scales * BUCKETS)) & (scales > 0)


class SoftPolicy:
    """Plays a bucket at random in a share of rounds, and what another policy plays in the others.

    Sessions that it logs serve to evaluate any policy off policy.

    Args:
        policy: the other, a table of scales or one for each history.
        explore: that share, in (0, 1].

    Raises:
        ValueError: another share, or another kind of policy.
    """

    training_seed = -1

    def __init__(self, policy: Policy, explore: float) -> None:
        if not 0 < explore <= 1:
            raise ValueError(f"explore must be above 0 and at most 1, got {explore}")
        if not isinstance(policy, TablePolicy | HistoryPolicy):
            raise ValueError(f"only a table or a history of scales can be explored around, not {policy.name!r}")
        self._policy, self._explore = policy, explore
        self.name = f"exploring {explore:g} {policy.name}"

    def start(self, episode_seeds: Sequence[int]) -> None:
        self._policy.start(episode_seeds)
        self._rngs = [np.random.default_rng([seed, 5]) for seed in episode_seeds]

    def act(self, observation: Observation) -> np.ndarray:
        self._planned = self._policy.act(observation)
        draws = np.array([(rng.random(), rng.integers(BUCKETS)) for rng in self._rngs])
        return np.where(draws[:, 0] < self._explore, bucket_scales(draws[:, 1].astype(int)), self._planned)

    def propensity(self, scales: np.ndarray) -> np.ndarray:
        """See :class:`ExploringPolicy`."""
        at_random = self._explore * on_buckets(scales) / BUCKETS
        return at_random + (1 - self._explore) * np.isclose(scales, self._planned)


def propensity(policy: Policy, scales: np.ndarray) -> np.ndarray:
    """How likely a policy's last act gave these scales, float (N,); nan for one that is random and doesn't know."""
    if isinstance(policy, StoredPolicy) and policy.is_certain:
        return np.ones(len(scales))
    return policy.propensity(scales) if isinstance(policy, ExploringPolicy) else np.full(len(scales), np.nan)


class RandomScalePolicy:
    """One scale from U(0, 1) for a whole session: the random condition of the paper's study."""

    name, training_seed = "random scale per session", -1

    def start(self, episode_seeds: Sequence[int]) -> None:
        self._scales = np.array([np.random.default_rng([seed, 2]).random() for seed in episode_seeds])

    def act(self, observation: Observation) -> np.ndarray:
        return self._scales


def published_policy() -> TablePolicy:
    """The schedule that the paper's participants saw, which depends on whether they had just stayed.

    It is the argmax of the authors' released value table over mixture scales.
    """
    return TablePolicy("published", np.array([[0.8, 0.8], [0.8, 0.6], [0.5, 1.0], [0.3, 0.4]]))


def read_policy(folder: Path) -> StoredPolicy:
    """Read a policy's folder, which may come from a stranger: nothing but its policy is opened, and no code is run.

    Raises:
        PolicyError: no policy there, a file that no policy has, damaged or oversized JSON, or a field that is missing,
            unknown or impossible, see :mod:`steer_env.policies.schema`.
    """
    from steer_env.policies.schema import check_files, check_policy

    path = folder / POLICY_FILE
    try:
        if folder.is_dir():
            check_files(folder)
        record = read_json(path)
        return _from_record(check_policy(record), record, folder)
    except FileNotFoundError as error:
        raise PolicyError(f"{folder} holds no {POLICY_FILE}") from error
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path} is no policy: {error}") from error


def _from_record(stated: Any, record: Any, folder: Path) -> StoredPolicy:
    if stated.seal not in (None, seal(record)):
        raise ValueError("it is damaged: its content isn't what its seal says; after an edit by hand, remove the seal")
    training = stated.card.training and TrainingRecord(**stated.card.training.model_dump())
    card = PolicyCard(training)
    if stated.kind == "network":
        from steer_env.policies.networks import NetworkPolicy, read_graph

        graph = read_graph(folder, stated.graph)
        return NetworkPolicy(stated.name, graph, stated.action, stated.observe, stated.training_seed, card)
    kinds: dict[str, Callable[..., StoredPolicy]] = {"table": TablePolicy, "histories": HistoryPolicy}
    return kinds[stated.kind](stated.name, stated.scales, stated.training_seed, card)
