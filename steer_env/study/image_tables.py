"""Image steering by people: how often they stay, and the scales that they saw. The release has no similarities."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from steer_env.study.rows import absent_row, mean_row, to_table

_UNITS = ("person",)


def stay_rates(rounds: Mapping[str, pd.DataFrame | None]) -> pd.DataFrame:
    """Share of sessions in which the person kept the current image, by round; clustered by person.

    Args:
        rounds: by file name, from :func:`steer_env.study.literals.image_rounds`; None: not given.
    """
    rows = []
    for name, frame in rounds.items():
        if frame is None:
            rows.append(absent_row(name, "stayed", "", name))
            continue
        stayed = frame.assign(stayed=(frame["choice"] == 0).astype(float))
        for number, chosen in stayed.groupby("round"):
            rows.append(mean_row(f"{name}, round {number}", "stayed", chosen, "stayed", _UNITS))
    return to_table(rows)


def scales(rounds: Mapping[str, pd.DataFrame | None]) -> pd.DataFrame:
    """Mixture scale (Eq. 8) by round and by whether the person stayed in the round before.

    Equation 9 has one value for each round; the deployed policy has two where these differ. The note gives the range.
    """
    rows = []
    for name, frame in rounds.items():
        if frame is None:
            rows.append(absent_row(name, "mixture scale", "", name))
            continue
        for (number, stayed), chosen in frame.groupby(["round", "stayed_before"]):
            state = "" if number == 1 else ", stayed before" if stayed else ", moved before"
            low, high = chosen["scale"].min(), chosen["scale"].max()
            note = "the same in every session" if low == high else f"from {low:.2f} to {high:.2f}"
            label = f"{name}, round {number}{state}"
            rows.append(mean_row(label, "mixture scale", chosen, "scale", _UNITS, note=note))
    return to_table(rows)
