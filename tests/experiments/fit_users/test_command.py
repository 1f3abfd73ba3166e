import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import train
from experiments.fit_users.__main__ import main
from experiments.fit_users.fitting import FAMILIES
from steer_env.traces import read_traces
from tests.experiments.run.released.small_release import IMAGES, image_session, write_release

FILES = ("img_steering_rl", "img_steering_rl_tiles", "img_steering")


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A release with six people in each condition, the random one among them."""
    release, rng = write_release(tmp_path / "release"), np.random.default_rng(0)
    for file in FILES:
        sessions = [[image_session(rng.integers(0, 3, 4).tolist()) for _ in range(2)] for _ in range(6)]
        frame = pd.DataFrame(
            {"steering_user_id": [f"{file}-{i}" for i in range(6)], "all_attempts": map(repr, sessions)}
        )
        frame.to_csv(release / f"{IMAGES}/{file}.csv", index=False)
    return release


def test_users_are_fitted_by_one_command(
    people: Path, tmp_path: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    families = tuple(replace(each, grids={name: grid[::8] for name, grid in each.grids.items()}) for each in FAMILIES)
    monkeypatch.setattr("experiments.fit_users.report.FAMILIES", families)
    command(main, f"path={people}", f"folder={tmp_path / 'run'}", "games=5", "tasks_per_batch=3")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert list(result["fits"]) == ["study-image-random", "study-image", "study-image-tiles", "all"]
    shares = result["fits"]["all"]["softmax"]["shares"]
    assert set(shares) == {"published", "random scale per session"}
    assert result["fits"]["study-image"]["hesitant"]["freedom"] == 3
    assert result["fits"]["all"]["hesitant"]["freedom"] == 11
    markdown = (tmp_path / "run" / "report.md").read_text()
    assert "study-image (12 sessions of 6 people)" in markdown
    assert list((tmp_path / "run" / "figures").glob("*.png"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.rounds=3", "people played 4 rounds: env.rounds must be 4, got 3"),
        ("games=1", "games must be at least 2, got 1"),
        ("games=1001", "got 1001"),
        ("tasks_per_batch=0", "tasks_per_batch must be from 1 to 65536, got 0"),
    ],
)
def test_games_that_cant_be_are_refused(
    people: Path, tmp_path: Path, command: Callable[..., None], override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        command(main, f"path={people}", f"folder={tmp_path / 'run'}", override)
    assert not (tmp_path / "run").exists()


def test_a_population_comes_from_the_command_line(tmp_path: Path, command: Callable[..., None]) -> None:
    members = "human.members=[{name: greedy, weight: 0.6}, {name: softmax, weight: 0.4, temperature: 0.13}]"
    small = ("episodes=2", "batch=2", "env.rounds=1")
    command(train.main, f"folder={tmp_path}", "human=mixture", members, *small)
    assert read_traces(tmp_path / "traces")[0].human == "0.6 greedy + 0.4 softmax-0.13"
