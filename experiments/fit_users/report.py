"""The simulated users that come closest to people, as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.fit_users.fitting import BIASED, FAMILIES, Fit, Fitter
from experiments.fit_users.people import Stays
from experiments.fit_users.reweighting import Games, predict
from steer_env.evaluation.plots import canvas
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import UNKNOWN

ALL = "all"
"""Conditions together, with one user for all of them."""
_LISTED = (0.005, 0.01, 0.02, 0.05, 0.1, 0.13, 0.2, 0.5)


@dataclass(frozen=True)
class FittedUsers:
    """The best users of every family: ``fits`` has one of each by condition, and by :data:`ALL`."""

    stays: Stays
    games: Mapping[str, Games]
    fits: Mapping[str, Sequence[Fit]]

    def likeness(self, fit: Fit) -> float:
        """What :attr:`Stays.likeness` would be if each person were one of the fit's members for good."""
        members, weights = fit.family.population(*fit.values.values())
        numbers = [
            np.mean([predict(games, [member], [1.0]).shares.sum() for games in self.games.values()])
            for member in members
        ]
        return float(np.cov(numbers, aweights=weights, ddof=0) / self.stays.spread)

    def record(self) -> dict[str, Any]:
        """As JSON: by condition and family the values with their intervals, and how well they fit."""
        return {
            condition: {
                fit.family.name: {
                    "values": {name: list(asdict(fit.interval(name)).values()) for name in fit.values},
                    "chi2": fit.chi2,
                    "freedom": fit.freedom,
                    "p": fit.p_value,
                    "shares": {policy: own.shares.tolist() for policy, own in fit.predictions.items()},
                }
                for fit in fits
            }
            for condition, fits in self.fits.items()
        }


def fit_users(stays: Stays, games: Mapping[str, Games]) -> FittedUsers:
    """Fit each of :data:`experiments.fit_users.fitting.FAMILIES` to each condition, and to all of them at once."""
    parts = {name: stays.alone(i) for i, name in enumerate(stays.conditions)}
    if len(parts) > 1:
        parts[ALL] = stays
    fitters = [Fitter(family, games) for family in FAMILIES]
    return FittedUsers(stays, games, {name: [fitter.fit(part) for fitter in fitters] for name, part in parts.items()})


def users_report(fitted: FittedUsers, setting: str) -> Report:
    """Shares of people and of the best users, how well those fit, and what the data can't decide."""
    stays, together = fitted.stays, list(fitted.fits)[-1]
    counted = zip(stays.conditions, stays.sessions, stays.people, strict=True)
    people = ", ".join(f"{condition} ({sessions} sessions of {n} people)" for condition, sessions, n in counted)
    lead = (
        f"People of the released study: {people}. {setting} The release has choices alone, so users are fitted to how "
        "often people keep the current image, by weighted least squares with the covariance of people and of the "
        "simulation. The generator and the metric are not those that people had: what fits is a statement about users "
        "of these games."
    )
    best = [_row(condition, fit) for condition, fits in fitted.fits.items() for fit in fits]
    sections = [
        Section(
            "Shares of sessions in which the user stays",
            "People, with standard errors over people in parentheses, and the best users of each family.",
            [_shares(fitted, name) for name in fitted.fits],
            [_figure(fitted)],
        ),
        Section(
            "Best users",
            "In brackets: where χ² is at most 1 above its least, which is one standard error to each side; a bound of "
            "the search is marked by *. A small p says that no user of the family stays as people do. Games: how many "
            "of these users' own the reweighted ones are worth.",
            [pd.DataFrame(best)],
        ),
        Section(
            "Noise and the bias to stay",
            f"The bias that fits best at each temperature, for {together}. Noise draws the shares of all rounds to "
            "chance, a bias lifts them all: the level can't tell the two apart, only the rise from round to round can.",
            [_ridge(fitted.fits[together])],
        ),
    ]
    if stays.likeness is not None:
        rows = [("people", f"{stays.likeness:.3f}")]
        rows += [(fit.family.name, f"{fitted.likeness(fit):.3f}") for fit in fitted.fits[together]]
        text = "Correlation of the number of stays between two sessions of one person, which no user was fitted to. A "
        text += "population whose members differ makes it positive."
        sections.append(Section("Do people differ?", text, [pd.DataFrame(rows, columns=["user", "correlation"])]))
    return Report("Simulated users, fitted to people", lead, sections)


def _shares(fitted: FittedUsers, condition: str) -> pd.DataFrame:
    """People's shares, or for all conditions the users' alone, by policy."""
    stays, rows = fitted.stays, []
    policies = list(fitted.games)
    if condition in stays.conditions:
        place = stays.conditions.index(condition)
        rows.append(["people", *(f"{share:.3f}" for share in stays.estimates(place))])
        policies = [stays.policies[place]]
    for fit in fitted.fits[condition]:
        for policy in policies:
            name = fit.family.name + (f", {policy}" if len(policies) > 1 else "")
            rows.append([name, *(f"{share:.3f}" for share in fit.predictions[policy].shares)])
    return pd.DataFrame(rows, columns=[condition, *(f"round {i + 1}" for i in range(stays.shares.shape[1]))])


def _row(condition: str, fit: Fit) -> dict[str, str]:
    parameters = []
    for name, grid in fit.family.grids.items():
        interval = fit.interval(name)
        low, high = (f"{end:.3g}" + "*" * (end in (grid[0], grid[-1])) for end in (interval.low, interval.high))
        parameters.append(f"{name} {fit.values[name]:.3g} [{low}, {high}]")
    return {
        "condition": condition,
        "users": fit.family.name,
        "parameters": "; ".join(parameters) or UNKNOWN,
        "χ² (degrees of freedom)": f"{fit.chi2:.1f} ({fit.freedom})",
        "p": f"{fit.p_value:.2g}",
        "games": f"{min(prediction.effective for prediction in fit.predictions.values()):.0f}",
    }


def _ridge(fits: Sequence[Fit]) -> pd.DataFrame:
    profile = next(fit for fit in fits if fit.family.name == BIASED).profiles["temperature"]
    places = [int(np.argmin(np.abs(np.log(profile.values / temperature)))) for temperature in _LISTED]
    columns = {"temperature": (profile.values, 3), "best bias to stay": (profile.others, 3), "χ²": (profile.chi2, 1)}
    return pd.DataFrame({name: [f"{x:.{n}f}" for x in values[places]] for name, (values, n) in columns.items()})


def _figure(fitted: FittedUsers) -> Figure:
    """People's shares with one standard error, and each family's best, a panel a condition."""
    stays = fitted.stays
    columns = len(stays.conditions)
    figure, (panels,) = canvas(4.0 * columns + 1, 3.8, 1, columns, sharey=True, squeeze=False)
    rounds = np.arange(stays.shares.shape[1]) + 1
    for place, (axes, condition) in enumerate(zip(panels, stays.conditions, strict=True)):
        for fit in fitted.fits[condition]:
            axes.plot(rounds, fit.predictions[stays.policies[place]].shares, marker=".", label=fit.family.name)
        style: dict[str, Any] = {"fmt": "o", "color": "black", "capsize": 3, "label": "people"}
        axes.errorbar(rounds, stays.shares[place], stays.errors[place], **style)
        axes.set_title(f"{condition}, {stays.sessions[place]} sessions", fontsize="medium")
        axes.set_xlabel("round")
        axes.set_xticks(rounds)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("share that stays")
    panels[-1].legend(fontsize="small")
    return figure
