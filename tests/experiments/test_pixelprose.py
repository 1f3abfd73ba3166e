"""A small file in PixelProse's format becomes a suite."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments import pixelprose
from steer_env.tasks import load_suite

ROWS: list[dict[str, Any]] = [
    {
        "vlm_caption": " This image displays: A cat, grey, on a sofa. It sleeps.\nSun shines.",
        "original_caption": "cat",
    },
    {"vlm_caption": "This image displays: A cat, grey, on a sofa. It sleeps. Sun shines.", "original_caption": "again"},
    {"vlm_caption": 'A sign that says "no, sir". Two trees stand by.', "original_caption": "a sign"},
    {"vlm_caption": "A fight. It is bloody.", "original_caption": "fight", "threat": 0.9},
    {"vlm_caption": "One sentence alone.", "original_caption": "short"},
    {"vlm_caption": "A \u2603 of snow. It melts.", "original_caption": "strange letters"},
    {"vlm_caption": None, "original_caption": "nothing"},
    {"vlm_caption": "A lake at 5.30 in the morning. Fog lies on it.", "original_caption": ""},
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "pixelprose.parquet"
    usual = {"uid": "x", "status": "success", **dict.fromkeys(pixelprose._HARMFUL, 0.001)}
    pd.DataFrame([{**usual, **row} for row in ROWS]).to_parquet(path)
    return path


def test_captions_become_tasks(source: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    file = tmp_path / "new" / "tasks.csv"
    command(pixelprose.main, f"source={source}", f"file={file}")
    suite = load_suite(f"csv:{file}")
    assert [(task.goal_prompt, task.prompt) for task in suite[:]] == [
        ("A cat, grey, on a sofa. It sleeps. Sun shines.", "A cat, grey, on a sofa."),
        ('A sign that says "no, sir". Two trees stand by.', 'A sign that says "no, sir".'),
        ("A lake at 5.30 in the morning. Fog lies on it.", "A lake at 5.30 in the morning."),
    ]
    licence = (tmp_path / "new" / "tasks.csv.licence.txt").read_text()
    assert "CC BY 4.0" in licence
    assert "first sentences" in licence
    with pytest.raises(ValueError, match=r"tasks.csv exists: give another file"):
        command(pixelprose.main, f"source={source}", f"file={file}")


def test_the_webs_own_texts_as_prompts(source: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    command(pixelprose.main, f"source={source}", f"file={tmp_path / 'tasks.csv'}", "prompt=original", "tasks=3")
    assert [task.prompt for task in load_suite(f"csv:{tmp_path / 'tasks.csv'}")[:]] == ["cat", "a sign", "short"]


def test_a_hub_is_streamed_and_no_further_than_needed(
    tmp_path: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    scores = dict.fromkeys(pixelprose._HARMFUL, 0.0)

    class Datasets:
        @staticmethod
        def load_dataset(name: str, split: str, streaming: bool) -> Any:
            assert (name, split, streaming) == ("tomg-group-umd/pixelprose", "train", True)
            return (read.append(i) or {"vlm_caption": f"Tile {i}. It is red.", **scores} for i in range(1000))

    monkeypatch.setitem(sys.modules, "datasets", Datasets)
    command(pixelprose.main, f"file={tmp_path / 'tasks.csv'}", "tasks=5")
    assert len(load_suite(f"csv:{tmp_path / 'tasks.csv'}")) == 5
    assert len(read) == 5


@pytest.mark.parametrize("score", [None, float("nan"), -5.0, "0.1", [0.1]])
def test_a_caption_without_a_score_may_be_anything(score: Any) -> None:
    usual = {"vlm_caption": "A cat. It sleeps.", **dict.fromkeys(pixelprose._HARMFUL, 0.1)}
    assert len(list(pixelprose.chosen([usual], pixelprose.FIRST, 0.2))) == 1
    assert not list(pixelprose.chosen([usual | {"threat": score}], pixelprose.FIRST, 0.2))
    del usual["threat"]
    with pytest.raises(ValueError, match="no column 'threat'; most_harmful=1 takes all captions; it has: vlm_caption"):
        list(pixelprose.chosen([usual], pixelprose.FIRST, 0.2))
    assert len(list(pixelprose.chosen([usual], pixelprose.FIRST, 1.0))) == 1


def test_what_cant_be_read(source: Path, tmp_path: Path, command: Callable[..., None], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    file = f"file={tmp_path / 'tasks.csv'}"
    with pytest.raises(ImportError, match=r"pip install 'steer-env\[pixelprose\]'"):
        command(pixelprose.main, file)
    with pytest.raises(FileNotFoundError, match=r"no file of captions at nothing\.parquet"):
        command(pixelprose.main, file, "source=nothing.parquet")
    pd.DataFrame({"caption": ["x"]}).to_parquet(source)
    with pytest.raises(ValueError, match="the source has no column 'vlm_caption'; it has: caption"):
        command(pixelprose.main, file, f"source={source}")
    assert not (tmp_path / "tasks.csv").exists()
