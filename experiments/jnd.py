"""A metric's just-noticeable difference: ``python -m experiments.jnd votes=votes.csv images=nights metric=dino``"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.run import REQUIRED, Run, RunOptions, command, option, part
from steer_env.compatibility import reason
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import Interval, percentiles, redrawn
from steer_env.metrics import load_metric
from steer_env.tasks import read_rows
from steer_env.types import Metric

_SAME = {"same": 1.0, "different": 0.0, "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_RESAMPLES, _ITERATIONS, _AT_A_TIME = 1000, 50, 32


@dataclass
class JndOptions(RunOptions):
    """How far apart two images are under a metric that half of the people call different.

    A logistic curve over the metric's distance, 1 − similarity, is fitted to people's votes whether two images are the
    same. The interval comes from 1,000 resamples of the pairs. For users who don't notice less: human=hesitant
    human.threshold=….

    Args:
        votes: a CSV file, a row for each pair or for each vote, such as DreamSim's released JND votes.
        images: folder that the paths in it begin at; by default the file's own.
        first, second: its columns with the two images' paths.
        same: its column with the votes: the share of people who called the two the same, from 0 to 1; or the vote
            itself, same or different.
        metric: whose distances.
        device, dtype: of the metric.
    """

    votes: str = REQUIRED
    images: str = ""
    first: str = "ref_path"
    second: str = "distort_path"
    same: str = "same"
    metric: Any = part("dreamsim")
    device: str = "auto"
    dtype: str = option("auto", among=("auto", "float32", "float16", "bfloat16"))


@command(JndOptions)
def main(options: JndOptions, run: Run) -> dict[str, Any]:
    """Embed the images, fit the curve, and print where it crosses one half."""
    pairs = read_votes(options)
    metric = load_metric(asdict(options.metric), device=options.device, dtype=options.dtype)
    run.open()
    distances = pair_distances(metric, pairs)
    same, votes = pairs["same"].to_numpy(), pairs["votes"].to_numpy()
    fitted = threshold(distances, same, votes)
    table = pd.DataFrame(
        [
            {
                "metric": metric.id,
                "pairs": len(pairs),
                "rows": int(votes.sum()),
                "called the same": f"{np.average(same, weights=votes):.1%}",
                "just-noticeable distance": f"{fitted.interval:.4f}",
                "slope": f"{fitted.slope:.1f}",
                "right side of it": f"{agreement(distances, same, votes, fitted.difference):.1%}",
            }
        ]
    )
    text = f"human=hesitant human.threshold={fitted.difference:.4f} doesn't notice smaller differences."
    section = Section("Just-noticeable difference", text, [table], [figure(distances, pairs, fitted)])
    run.publish(Report("Just-noticeable difference", f"Votes of {Path(options.votes).name}.", [section]))
    return {"metric": metric.id, "pairs": len(pairs), "difference": fitted.difference, "slope": fitted.slope}


def read_votes(options: JndOptions) -> pd.DataFrame:
    """A row for each pair: paths ``first`` and ``second``, ``same`` from 0 to 1, and in how many ``votes`` rows.

    Raises:
        FileNotFoundError: no such file, or an image that isn't there.
        ValueError: as :func:`steer_env.tasks.read_rows`, or a vote that is none.
    """
    columns = {"first": options.first, "second": options.second}
    _, rows = read_rows(options.votes, "", {*columns.values(), options.same})
    folder = Path(options.images or Path(options.votes).parent).expanduser()
    pairs = pd.DataFrame([{name: folder / row[column] for name, column in columns.items()} for row, _ in rows])
    pairs["same"] = [_vote(row[options.same], line) for row, line in rows]
    for path in pd.unique(pairs[["first", "second"]].to_numpy().ravel()):
        if not path.is_file():
            raise FileNotFoundError(f"there is no image {path}: set images to the folder that paths begin at")
    return pairs.groupby(["first", "second"], sort=False)["same"].agg(same="mean", votes="size").reset_index()


def _vote(value: str, place: str) -> float:
    """A share, or a vote in words."""
    known = _SAME.get(value.strip().lower())
    try:
        share = known if known is not None else float(value)
    except ValueError:
        share = np.nan
    if not 0 <= share <= 1:
        raise ValueError(f"{place}: a vote is same, different, or a share from 0 to 1, not {value!r}")
    return share


def pair_distances(metric: Metric, pairs: pd.DataFrame) -> np.ndarray:
    """1 − similarity of each pair, (P,)."""
    paths = list(pd.unique(pairs[["first", "second"]].to_numpy().ravel()))
    embedded = _embedded(metric, paths)
    place = {path: row for row, path in enumerate(paths)}
    first, second = (embedded[[place[path] for path in pairs[side]]] for side in ("first", "second"))
    return 1 - metric.similarity(first, second).double().cpu().numpy()


def _embedded(metric: Metric, paths: Sequence[Path]) -> Any:
    """Embeddings (n, D); images of other sizes can't share a batch."""
    import torch
    from PIL import Image

    sizes: dict[tuple[int, ...], list[int]] = {}
    pixels: list[Any] = []
    for row, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                pixels.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} is no image that can be read: {reason(error)}") from error
        sizes.setdefault(tuple(pixels[-1].shape), []).append(row)
    made = torch.zeros(len(paths), metric.dimensions)
    for rows in sizes.values():
        for start in range(0, len(rows), _AT_A_TIME):
            part = rows[start : start + _AT_A_TIME]
            made[part] = metric.embed(torch.stack([pixels[row] for row in part]).float() / 255).cpu()
    return made


@dataclass(frozen=True)
class Threshold:
    """The metric's difference, with its interval, at which half of the people call two images different.

    The slope is that of the log odds, a unit of difference.
    """

    difference: float
    slope: float
    interval: Interval


def threshold(distances: np.ndarray, same: np.ndarray, votes: np.ndarray) -> Threshold:
    """Fit P(same) = σ(slope · (difference − distance)) to P pairs with so many votes each, which must fall with it."""
    weights = len(distances) * redrawn(np.random.default_rng(0), len(distances), _RESAMPLES)
    fitted = logistic(distances, same, votes * np.concatenate([np.ones((1, len(distances))), weights]))
    if not (fitted[0, 1] > 0 and np.isfinite(fitted).all(axis=1)[0]):
        raise ValueError("the further apart two images are under this metric, the more people call them the same")
    differences = fitted[:, 0] / fitted[:, 1]
    return Threshold(float(differences[0]), float(fitted[0, 1]), percentiles(differences[0], differences[1:]))


def logistic(distances: np.ndarray, same: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Newton's method for each row of weights (R, P): intercept and slope of P(same) = σ(intercept − slope · distance).

    A thousandth of a vote's worth of ridge keeps curves finite that separate the votes perfectly.
    """
    scale = distances.std() or 1.0
    design = np.stack([np.ones_like(distances), -distances / scale], axis=1)
    beta = np.zeros((len(weights), 2))
    for _ in range(_ITERATIONS):
        chance = 1 / (1 + np.exp(-np.clip(beta @ design.T, -30, 30)))
        gradient = (weights * (same - chance)) @ design - 1e-3 * beta
        curvature = np.einsum("rp,pi,pj->rij", weights * chance * (1 - chance), design, design) + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        beta += np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            break
    return beta / [1.0, scale]


def agreement(distances: np.ndarray, same: np.ndarray, votes: np.ndarray, difference: float) -> float:
    """Share of votes that the threshold alone foretells."""
    return float(np.average(np.where(distances < difference, same, 1 - same), weights=votes))


def figure(distances: np.ndarray, pairs: pd.DataFrame, fitted: Threshold) -> plots.Figure:
    """Votes by distance, in ten groups of as many pairs, and the curve."""
    drawn, axes = plots.canvas(5, 3)
    order = np.array_split(np.argsort(distances), min(10, len(distances)))
    axes.plot([distances[group].mean() for group in order], [pairs["same"].iloc[group].mean() for group in order], "o")
    grid = np.linspace(0, distances.max(), 200)
    axes.plot(grid, 1 / (1 + np.exp(-fitted.slope * (fitted.difference - grid))))
    axes.axvline(fitted.difference, linestyle=":", color="grey")
    axes.set(xlabel="distance", ylabel="called the same", ylim=(0, 1))
    return drawn


if __name__ == "__main__":
    main()
