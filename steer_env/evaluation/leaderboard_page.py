"""A leaderboard as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd
from matplotlib.figure import Figure

from steer_env.evaluation import plots, statistics
from steer_env.evaluation.leaderboard import Row
from steer_env.evaluation.reports import Report, Section, conditions, count, examples
from steer_env.evaluation.uncertainty import UNKNOWN

_READING = (
    "{tracks}Improvement: mean change of similarity to the goal, first to last image. Improved: share of episodes in "
    "which it rose. Regret: how much more the best ranked policy improves on the same tasks; being the best here, it "
    "was partly lucky. P(better than next): the chance that one training of this policy does better on a task than one "
    "of the policy ranked below it, ties counted half. {judges}{robust}Brackets hold 95 % bootstrap intervals over "
    "tasks and training seeds; with two or three training seeds they are too narrow. A trained policy with a single "
    "training seed isn't ranked: it may have been a lucky one. Images: made in an episode, goal, first image and what "
    "the mechanism makes beyond those shown included. Milliseconds an episode: wall time of the policy played alone, "
    "image making included, on {machine}."
)
_TRACKS = (
    "Each mechanism is a track of its own ({names}): rank, regret and P(better than next) are among the policies of a "
    "track. "
)


def leaderboard_report(
    rows: Sequence[Row],
    frame: pd.DataFrame,
    noisy_human: str,
    machine: str,
    strips: Sequence[Figure],
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """The ranking, curves and pictures.

    Args:
        rows: from :func:`steer_env.evaluation.leaderboard.tracks`, track by track.
        frame: the episodes behind them.
        noisy_human: id of the user of the robustness column; empty for none.
        machine: where wall time was measured.
        strips: pictures of episodes.
        refused: why submissions weren't played, by folder.
    """
    judges = "".join(
        f"{name}: the same improvement under a metric that nothing was trained on. " for name in rows[0].judged
    )
    robust = f"{noisy_human}: improvement with that noisy user. " if noisy_human else ""
    names = list(dict.fromkeys(row.track for row in rows))
    tracks = _TRACKS.format(names=", ".join(names)) if len(names) > 1 else ""
    order = [row.policy for row in rows]
    if tracks:
        order = [f"{row.policy}, {row.track}" for row in rows]
        frame = frame.assign(policy=frame["policy"] + ", " + frame["mechanism"])
    by_rank = frame.sort_values("policy", key=lambda column: column.map(order.index), kind="stable")
    sections = [
        Section(
            "Ranking",
            _READING.format(tracks=tracks, judges=judges, robust=robust, machine=machine),
            [pd.DataFrame([_cells(row, noisy_human, bool(tracks)) for row in rows])],
        ),
        Section(
            "Similarity at each attempt",
            "Means with one standard error.",
            figures=[plots.attempts_curve(statistics.attempts(by_rank))],
        ),
    ]
    if refused:
        table = pd.DataFrame(refused.items(), columns=["submission", "reason"])
        sections.append(Section("Refused", "Submissions that weren't played.", [table]))
    if strips:
        sections.append(examples(strips))
    return Report(f"Leaderboard of {frame['suite'].iloc[0]}", conditions(frame), sections)


def _cells(row: Row, noisy_human: str, several_tracks: bool) -> dict[str, str]:
    cells = {
        "policy": row.policy,
        **({"track": row.track} if several_tracks else {}),
        "rank": "one training seed" if row.rank is None else str(row.rank),
        "improvement": str(row.improvement),
        "improved": f"{row.improved:.3f}",
        "regret": str(row.regret or UNKNOWN),
        "P(better than next)": f"{row.better:.3f}" if row.better else UNKNOWN,
        **{name: str(found) for name, found in row.judged.items()},
    }
    if noisy_human:
        cells[noisy_human] = str(row.robust or UNKNOWN)
    episodes = "not told" if row.training_episodes is None else str(row.training_episodes)
    return cells | {
        "training episodes": episodes,
        "training seeds": str(row.training_seeds),
        "episodes": str(row.episodes),
        "images": UNKNOWN if row.images is None else count(row.images),
        "ms an episode": f"{1000 * row.seconds:.0f}",
    }
