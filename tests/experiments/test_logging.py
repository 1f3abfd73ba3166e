"""What a training logs of itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy import stats

from agents.loggers.jsonl import LOG, read_log
from experiments import train
from steer_env.traces import read_traces

pytestmark = pytest.mark.usefixtures("blots")


@pytest.mark.parametrize("agent", ["thompson", "a2c"])
def test_each_checkpoint_is_logged_from_its_traces(agent: str, tmp_path: Path, command: Callable[..., None]) -> None:
    options = [f"agent={agent}", "logger=jsonl", "episodes=40", "batch=4"]
    command(train.main, f"folder={tmp_path}", *options)
    start, *rest = read_log(tmp_path / LOG)
    assert start == {"episodes": 0, "config": OmegaConf.load(tmp_path / "config.yaml")}
    parts = [read_traces(path) for path in sorted((tmp_path / "traces").iterdir())]
    assert [record["episodes"] for record in rest] == np.cumsum([len(part) for part in parts]).tolist()
    for record, part in zip(rest, parts, strict=True):
        gained = [trace.improvement for trace in part]
        assert record["improvement/mean"] == pytest.approx(np.mean(gained))
        assert record["improvement/error"] == pytest.approx(stats.sem(gained))
        for place in range(4):
            counts: dict[str, Any] = record[f"scales/round {place + 1}"]
            played = [f"{trace.scales[place]:g}" for trace in part]
            assert counts == {scale: played.count(scale) for scale in set(played)}


def test_the_plots_are_logged_at_the_end(tmp_path: Path, command: Callable[..., None]) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command(train.main, f"folder={tmp_path}", "logger=tensorboard", "episodes=16", "batch=8")
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert {name: [image.step for image in found.Images(name)] for name in found.Tags()["images"]} == {
        "training": [16],
        "values": [16],
    }
    assert [event.step for event in found.Scalars("improvement/mean")] == [16]


def test_another_logger_may_be_asked_for_when_a_run_goes_on(tmp_path: Path, command: Callable[..., None]) -> None:
    command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8")
    (tmp_path / "result.json").unlink()
    command(train.main, f"folder={tmp_path}", "episodes=16", "batch=8", "logger=jsonl")
    assert [(record["episodes"], "config" in record) for record in read_log(tmp_path / LOG)] == [(8, True), (16, False)]
    command(train.main, f"folder={tmp_path}", "episodes=8", "batch=8", "overwrite=true")
    assert not (tmp_path / LOG).exists()


def test_a_bad_option_of_the_logger_is_found_before_any_work(refuses: Callable[..., None]) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    refuses(train.main, r"unknown logger.mode 'ofline'; did you mean 'offline'", "logger=wandb", "logger.mode=ofline")
    option = "unknown option of logger wandb 'mod'; did you mean 'mode'"
    refuses(train.main, option, "logger=wandb", "logger.mod=offline")
