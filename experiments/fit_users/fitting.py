"""Families of simulated users, and which of a family stay as often as people do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import linalg, optimize, stats

from experiments.fit_users.people import Stays
from experiments.fit_users.reweighting import Games, Prediction, predict
from steer_env.evaluation.uncertainty import Interval
from steer_env.humans.choosers import Chooser, GreedyHuman, HesitantHuman, SoftmaxHuman

ANNOTATORS = 0.13
"""Temperature of the study's annotators, in units of DreamSim similarity."""
Population = tuple[Sequence[Chooser], Sequence[float]]
"""Members and their shares, which sum to 1."""


@dataclass(frozen=True)
class Family:
    """Users of one kind.

    Args:
        name: what tables call it.
        grids: by parameter, at most two, the values among which the best is first looked for, ascending.
        population: from a value of each parameter to users.
    """

    name: str
    grids: Mapping[str, np.ndarray]
    population: Callable[..., Population]


_TEMPERATURES, _STAYS = np.geomspace(0.005, 0.5, 25), np.linspace(-0.1, 0.7, 25)
BIASED = "softmax with a bias to stay"
GREEDY = Family("greedy", {}, lambda: ([GreedyHuman()], [1.0]))
FAMILIES = (
    GREEDY,
    Family("softmax", {"temperature": _TEMPERATURES}, lambda temperature: ([SoftmaxHuman(temperature)], [1.0])),
    Family(BIASED, {"temperature": _TEMPERATURES, "stay": _STAYS}, lambda *both: ([SoftmaxHuman(*both)], [1.0])),
    Family("hesitant", {"threshold": np.linspace(0, 0.16, 81)}, lambda threshold: ([HesitantHuman(threshold)], [1.0])),
    Family(
        "mixture",
        {"noisy": np.linspace(0, 1, 21), "stay": _STAYS},
        lambda noisy, stay: ([GreedyHuman(), SoftmaxHuman(ANNOTATORS, stay)], [1 - noisy, noisy]),
    ),
)
"""In a mixture, a share ``noisy`` chooses at the annotators' temperature with a bias to stay; the others are greedy."""


@dataclass(frozen=True)
class Profile:
    """The least χ² that each value of a parameter allows.

    Args:
        values: float (G,), ascending.
        chi2: float (G,), with the other parameter, if there is one, at its best.
        others: float (G,), that best value; nan if there is none.
    """

    values: np.ndarray
    chi2: np.ndarray
    others: np.ndarray

    def interval(self, at: float, least: float) -> Interval:
        """As far around a value as χ² is at most 1 above the least: one standard error to each side.

        An end of the values is a bound of the search, not of the interval.
        """
        place = np.searchsorted(self.values, at)
        values, chi2 = np.insert(self.values, place, at), np.insert(self.chi2, place, least)
        # Its root is nearly a straight line between neighbours of the grid.
        root = np.sqrt(np.maximum(chi2 - least, 0))
        return Interval(at, _crossing(values[place::-1], root[place::-1]), _crossing(values[place:], root[place:]))


def _crossing(values: np.ndarray, root: np.ndarray) -> float:
    """Where a root that begins at 0 first exceeds 1; the last value if it never does."""
    above = np.flatnonzero(root > 1)
    if not len(above):
        return float(values[-1])
    pair = slice(above[0] - 1, above[0] + 1)
    return float(np.interp(1, root[pair], values[pair]))


@dataclass(frozen=True)
class Fit:
    """The users of a family who come closest to people.

    Args:
        family: of users.
        values: of its parameters.
        chi2: sum of squares, weighted by the inverse of people's and the simulation's covariance.
        freedom: shares fitted, less parameters.
        profiles: by parameter.
        predictions: by policy.
    """

    family: Family
    values: Mapping[str, float]
    chi2: float
    freedom: int
    profiles: Mapping[str, Profile]
    predictions: Mapping[str, Prediction]

    @property
    def p_value(self) -> float:
        """Probability of a χ² as large, were people such users of this model."""
        return float(stats.chi2.sf(self.chi2, self.freedom))

    def interval(self, parameter: str) -> Interval:
        """See :meth:`Profile.interval`."""
        return self.profiles[parameter].interval(self.values[parameter], self.chi2)


class Fitter:
    """Fits one family to several observations; the predictions of its grid from the games, by policy, are made once."""

    def __init__(self, family: Family, games: Mapping[str, Games]) -> None:
        self._family, self._games = family, games
        self._points = np.array(list(product(*family.grids.values())))
        predicted = [self._predict(point) for point in self._points]
        self._shares = {policy: np.array([each[policy].shares for each in predicted]) for policy in games}

    def fit(self, stays: Stays) -> Fit:
        """Least squares; the simulation's covariance is that of the grid's best user, found with the greedy one's."""
        greedy = {policy: predict(games, *GREEDY.population()) for policy, games in self._games.items()}
        near = self._points[int(np.argmin(_Squares(stays, greedy).of(self._shares)))]
        squares = _Squares(stays, self._predict(near))
        names = list(self._family.grids)
        profiles = {name: self._profile(squares, axis) for axis, name in enumerate(names)}
        best = self._least(squares, next(iter(profiles.values()))) if profiles else near
        predictions = self._predict(best)
        values = dict(zip(names, best.tolist(), strict=True))
        freedom = stays.shares.size - len(names)
        return Fit(self._family, values, squares(predictions), freedom, profiles, predictions)

    def _predict(self, values: np.ndarray) -> dict[str, Prediction]:
        population = self._family.population(*values.tolist())
        return {policy: predict(games, *population) for policy, games in self._games.items()}

    def _least(self, squares: _Squares, profile: Profile) -> np.ndarray:
        """Parameters float (P,): the lowest point of the first one's profile, made better."""
        place = int(np.argmin(profile.chi2))
        low, high = self._points.min(axis=0), self._points.max(axis=0)
        start = np.array([profile.values[place], profile.others[place]])[: len(low)]
        # Towards the middle, where there is room for a simplex.
        steps = np.diag((high - low) / 50 * np.where(start < (low + high) / 2, 1, -1))
        best = optimize.minimize(
            lambda values: squares(self._predict(values)),
            start,
            method="Nelder-Mead",
            bounds=np.stack([low, high], axis=1),
            options={"initial_simplex": [start, *(start + steps)], "xatol": 1e-4, "fatol": 1e-3},
        )
        return np.asarray(best.x)

    def _profile(self, squares: _Squares, axis: int) -> Profile:
        grids = list(self._family.grids.values())
        table = squares.of(self._shares).reshape([len(grid) for grid in grids])
        if len(grids) == 1:
            return Profile(grids[0], table, np.full(len(table), np.nan))
        other, rows = grids[1 - axis], np.moveaxis(table, axis, 0)
        best = []
        for at, row in zip(grids[axis], rows, strict=True):
            # The other parameter's best value beside this one, between the grid's neighbours.
            place = int(np.argmin(row))
            result = optimize.minimize_scalar(
                lambda value, at=at: squares(self._predict(np.array([at, value] if axis == 0 else [value, at]))),
                bounds=(other[max(place - 1, 0)], other[min(place + 1, len(other) - 1)]),
                method="bounded",
                options={"xatol": 1e-4},
            )
            best.append((result.x, result.fun) if result.fun < row[place] else (other[place], row[place]))
        others, chi2 = np.array(best).T
        return Profile(grids[axis], chi2, others)


class _Squares:
    """χ² of predictions, with people's covariance and the simulation's; conditions with one policy share its games."""

    def __init__(self, stays: Stays, simulated: Mapping[str, Prediction]) -> None:
        self._stays = stays
        blocks = [[simulated[one].covariance * (one == other) for other in stays.policies] for one in stays.policies]
        self._factor = linalg.cho_factor(stays.covariance + np.block(blocks))

    def __call__(self, predictions: Mapping[str, Prediction]) -> float:
        """χ² of one user's predictions, by policy."""
        return float(self.of({policy: own.shares[None] for policy, own in predictions.items()})[0])

    def of(self, shares: Mapping[str, np.ndarray]) -> np.ndarray:
        """χ² of many users, float (G,), from shares by policy, float (G, R) each."""
        expected = np.concatenate([shares[policy] for policy in self._stays.policies], axis=1)
        missed = expected - self._stays.shares.ravel()
        return (missed * linalg.cho_solve(self._factor, missed.T).T).sum(axis=1)
