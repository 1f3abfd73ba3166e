"""A metric's just-noticeable difference from people's votes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import jnd
from steer_env.metrics.pixels import PixelCorrelation
from tests.steer_env.checkpoints import pictures, pil


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of pictures, and votes of people who go by pixel-correlation with a threshold of 0.2 and a slope of 30."""
    root, rng = tmp_path_factory.mktemp("jnd"), np.random.default_rng(0)
    one, other = pictures(60, 32), pictures(60, 32, seed=1)
    share = torch.linspace(0, 0.6, 60).view(-1, 1, 1, 1)
    mixed = (one * (1 - share) + other * share).clamp(0, 1)
    metric, rows = PixelCorrelation(), []
    for i in range(60):
        pil(one[i]).save(root / f"{i}a.png")
        pil(mixed[i]).save(root / f"{i}b.png")
        distance = 1 - float(metric.similarity(metric.embed(one[i : i + 1]), metric.embed(mixed[i : i + 1])))
        chance = 1 / (1 + np.exp(-30 * (0.2 - distance)))
        rows += [(f"{i}a.png", f"{i}b.png", int(rng.random() < chance)) for _ in range(20)]
    pd.DataFrame(rows, columns=["ref_path", "distort_path", "same"]).to_csv(root / "votes.csv", index=False)
    return root


def test_the_threshold_is_found_and_told(folder: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    command(jnd.main, f"votes={folder / 'votes.csv'}", "metric=pixel-correlation", f"folder={tmp_path / 'run'}")
    found = json.loads((tmp_path / "run" / "result.json").read_text())
    assert found["pairs"] == 60
    assert found["difference"] == pytest.approx(0.2, abs=0.02)
    assert found["slope"] == pytest.approx(30, rel=0.25)
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"human=hesitant human.threshold={found['difference']:.4f}" in report
    # Shares of pairs say the same as single votes in words.
    votes = pd.read_csv(folder / "votes.csv")
    votes.assign(same=votes["same"].map({1: "same", 0: "Different"})).to_csv(folder / "words.csv", index=False)
    shares = votes.groupby(["ref_path", "distort_path"], sort=False)["same"].mean().reset_index()
    shares.to_csv(folder / "shares.csv", index=False)
    for name in ("words", "shares"):
        place = tmp_path / name
        command(jnd.main, f"votes={folder / name}.csv", "metric=pixel-correlation", f"folder={place}")
        again = json.loads((place / "result.json").read_text())
        assert again["difference"] == pytest.approx(found["difference"], abs=1e-4)


def test_the_fit_is_that_of_a_library() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    distances = rng.random(300)
    same = (rng.random(300) < 1 / (1 + np.exp(-10 * (0.4 - distances)))).astype(float)
    ((intercept, slope),) = jnd.logistic(distances, same, np.ones((1, 300)))
    fitted = LogisticRegression(C=1e6, tol=1e-10).fit(-distances[:, None], same)
    assert intercept == pytest.approx(fitted.intercept_[0], rel=1e-3)
    assert slope == pytest.approx(fitted.coef_[0, 0], rel=1e-3)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        distances, votes = rng.random(80), np.full(80, 5)
        same = rng.binomial(5, 1 / (1 + np.exp(-12 * (0.5 - distances)))) / 5
        interval = jnd.threshold(distances, same, votes).interval
        held += interval.low <= 0.5 <= interval.high
    assert 51 <= held <= 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table.rename(columns={"same": "vote"}),
            r"lacks the columns same; it has",
        ),
        (
            lambda table: table.assign(same="perhaps"),
            r"votes.csv, line 2: a vote is same, different, or",
        ),
        (lambda table: table.assign(same=2), r"line 2: a vote is same, different, or a share from 0 to 1, not '2'"),
        (lambda table: table.assign(same=None), r"line 2: a vote is same, different, or a share .* not ''"),
        (lambda table: table.iloc[:0], r"votes.csv holds no rows"),
        (lambda table: table.assign(ref_path="gone.png"), r"there is no image .*gone.png: set images to the folder"),
    ],
)
def test_files_that_hold_no_votes(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
    folder: Path,
    tmp_path: Path,
    command: Callable[..., None],
) -> None:
    change(pd.read_csv(folder / "votes.csv").head(3)).to_csv(tmp_path / "votes.csv", index=False)
    options = [f"votes={tmp_path / 'votes.csv'}", f"images={folder}", f"folder={tmp_path / 'run'}"]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        command(jnd.main, "metric=pixel-correlation", *options)
    assert not (tmp_path / "run").exists()


def test_votes_with_a_field_too_many_arent_shifted(folder: Path) -> None:
    (folder / "shifted.csv").write_text("ref_path,distort_path,same\n7,0a.png,0b.png,1\n")
    with pytest.raises(ValueError, match=r"shifted\.csv, line 2: 4 fields, where there are 3 columns"):
        jnd.read_votes(jnd.JndOptions(votes=str(folder / "shifted.csv")))


@pytest.mark.parametrize("content", [b"no image", b"P6 60000 60000 255 "])
def test_an_image_that_cant_be_read_is_named(content: bytes, tmp_path: Path, command: Callable[..., None]) -> None:
    """The second would take 10 GB."""
    (tmp_path / "a.ppm").write_bytes(content)
    (tmp_path / "votes.csv").write_text("ref_path,distort_path,same\na.ppm,a.ppm,1\n")
    options = (f"votes={tmp_path / 'votes.csv'}", f"folder={tmp_path / 'run'}", "metric=pixel-correlation")
    with pytest.raises(ValueError, match=r"a\.ppm is no image that can be read"):
        command(jnd.main, *options)


def test_votes_that_dont_follow_the_metric() -> None:
    distances = np.linspace(0, 1, 40)
    with pytest.raises(ValueError, match="the further apart two images are under this metric, the more people"):
        jnd.threshold(distances, (distances > 0.5).astype(float), np.ones(40))
