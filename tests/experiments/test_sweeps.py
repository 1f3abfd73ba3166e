"""Sweeps as a user starts, interrupts and continues them, and what sweep_status says meanwhile."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import training
from agents.files import RESULT, RunExistsError
from experiments import sweep_status, train
from experiments.run.folder import CONFIG, ERROR
from experiments.sweep_status import read_jobs
from steer_env.evaluation.uncertainty import estimate
from steer_env.traces import read_traces

pytestmark = pytest.mark.usefixtures("blots")

SWEEP = ("--multirun", "seed=1,2", "episodes=8", "batch=8")


@pytest.fixture(scope="module")
def finished(blots: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *SWEEP, f"folder={folder}"])
        train.main()
    return folder


def job(folder: Path, seed: int) -> Path:
    return folder / f"batch=8,episodes=8,seed={seed}"


@pytest.fixture
def before_playing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A context in which something is done before each batch that a training with a given seed plays."""

    @contextmanager
    def doing(seed: int, action: Callable[[], None]) -> Iterator[None]:
        play = training.play

        def acting(*args: Any) -> Any:
            if args[1][0].training_seed == seed:
                action()
            return play(*args)

        with monkeypatch.context() as patch:
            patch.setattr(training, "play", acting)
            yield

    return doing


def test_each_job_is_the_run_that_its_options_say(finished: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    folders = [path for path in finished.iterdir() if path.is_dir()]
    assert sorted(folders) == [job(finished, 1), job(finished, 2)]
    command(train.main, f"folder={tmp_path}", "seed=2", "episodes=8", "batch=8")
    for name in ("policy/policy.json", "checkpoint.json"):
        assert (job(finished, 2) / name).read_text() == (tmp_path / name).read_text()
    assert read_traces(job(finished, 2) / "traces") == read_traces(tmp_path / "traces")


def test_finished_jobs_are_skipped_and_unfinished_ones_go_on(
    finished: Path,
    tmp_path: Path,
    command: Callable[..., None],
    before_playing: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    with before_playing(2, interrupt), pytest.raises(SystemExit, match="130"):
        command(train.main, "--multirun", f"folder={tmp_path}", "seed=1,2,3", "episodes=16", "batch=8")
    folders = [tmp_path / f"batch=8,episodes=16,seed={seed}" for seed in (1, 2, 3)]
    assert [(folder / RESULT).exists() for folder in folders] == [True, False, False]
    before = (folders[0] / RESULT).stat().st_mtime_ns
    capsys.readouterr()
    command(train.main, "--multirun", f"folder={tmp_path}", "seed=1,2,3", "episodes=16", "batch=8")
    printed = capsys.readouterr().out
    assert f"finished before, skipped: {folders[0]}\n" in printed
    assert f"going on with the unfinished run in {folders[1]}\n" in printed
    assert (folders[0] / RESULT).stat().st_mtime_ns == before
    assert [job.state for job in read_jobs(tmp_path, window=8)] == ["done"] * 3
    traces = read_traces(folders[1] / "traces")
    assert len(traces) == 16
    assert traces[:8] == read_traces(job(finished, 2) / "traces")


def test_a_failing_job_leaves_its_error_and_stops_no_other(
    tmp_path: Path,
    command: Callable[..., None],
    before_playing: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise MemoryError("no more")

    with before_playing(1, fail), pytest.raises(MemoryError, match="no more"):
        command(train.main, *SWEEP, f"folder={tmp_path}")
    assert f"failed: {job(tmp_path, 1)}: no more\n" in capsys.readouterr().out
    assert (job(tmp_path, 1) / ERROR).read_text().endswith("\nMemoryError: no more\n")
    command(sweep_status.main, f"folder={tmp_path}")
    printed = capsys.readouterr().out
    assert "0 running, 1 failed, 0 damaged, 1 done, 0 unfinished\n" in printed
    assert f"best so far: {job(tmp_path, 2).name}\n" in printed
    assert f"{job(tmp_path, 1).name} failed:\n" in printed
    assert "MemoryError: no more\n" in printed
    command(train.main, *SWEEP, f"folder={tmp_path}")
    assert not (job(tmp_path, 1) / ERROR).exists()
    assert [job.state for job in read_jobs(tmp_path, window=8)] == ["done", "done"]


def test_a_job_that_fails_before_it_starts_leaves_its_error_too(tmp_path: Path, command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="did you mean 'tiles-train-v1'"):
        command(train.main, "--multirun", f"folder={tmp_path}", "env.suite=tiles-trein", "episodes=8")
    (found,) = read_jobs(tmp_path, window=8)
    assert (found.state, found.played, found.episodes, found.recent) == ("failed", 0, None, None)
    assert "did you mean 'tiles-train-v1'" in found.error[-1]


def test_a_typo_is_found_before_any_job_starts(tmp_path: Path, command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="unknown agent 'pppo'; did you mean 'ppo'"):
        command(train.main, *SWEEP, f"folder={tmp_path}", "agent=thompson,pppo")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_finished_job_of_another_configuration_is_refused(tmp_path: Path, command: Callable[..., None]) -> None:
    sweep = ["--multirun", f"folder={tmp_path}", "episodes=8", "batch=8"]
    command(train.main, *sweep)
    config = next(tmp_path.glob("*/config.yaml"))
    config.write_text(config.read_text().replace("seed: 0", "seed: 5"))
    with pytest.raises(RunExistsError, match="holds a finished run with other seed: choose another folder"):
        command(train.main, *sweep)
    assert not (config.parent / ERROR).exists()


def test_a_run_at_work_is_told_from_a_killed_one_and_left_alone(
    finished: Path, tmp_path: Path, command: Callable[..., None]
) -> None:
    (tmp_path / CONFIG).write_text((job(finished, 1) / CONFIG).read_text())
    code = "import filelock, sys\nwith filelock.FileLock(sys.argv[1]):\n    print('held')\n    sys.stdin.read()"
    holder = [sys.executable, "-uc", code, str(tmp_path / "run.lock")]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        assert read_jobs(tmp_path, window=8)[0].state == "running"
        for option in ("overwrite=false", "overwrite=true"):
            with pytest.raises(RunExistsError, match=f"another process is at work in {tmp_path}"):
                command(train.main, f"folder={tmp_path}", "seed=1", "episodes=8", "batch=8", option)
        process.kill()
    assert read_jobs(tmp_path, window=8)[0].state == "unfinished"


def test_the_status_estimates_from_the_last_episodes(finished: Path) -> None:
    found = read_jobs(finished, window=6)
    assert [job.name for job in found] == [job(finished, seed).name for seed in (1, 2)]
    for one in found:
        last = [[trace.improvement for trace in read_traces(finished / one.name / "traces")[-6:]]]
        assert one.recent == estimate(np.array(last))
        assert (one.played, one.episodes, one.error) == (8, 8, [])


@pytest.mark.parametrize(
    ("options", "message"), [([], "no training run in or below"), (["window=1"], "window must be at least 2, got 1")]
)
def test_a_status_of_nothing_is_an_error(
    tmp_path: Path, command: Callable[..., None], options: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        command(sweep_status.main, f"folder={tmp_path}", *options)


@pytest.mark.parametrize("config", ["episodes: ${oc.env:SECRET}\n", "episodes: [1, 2\n", "- 3\n"])
def test_what_lies_in_a_run_folder_is_neither_looked_up_nor_obeyed(
    tmp_path: Path,
    command: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: str,
) -> None:
    monkeypatch.setenv("SECRET", "1234")
    folder = tmp_path / "a\x1b[2Jb[red]"
    folder.mkdir()
    (folder / CONFIG).write_text(config)
    (folder / ERROR).write_text("\x1b]0;title\x07first\n\x9b31mlast\x08\n")
    command(sweep_status.main, f"folder={tmp_path}")
    printed = capsys.readouterr().out
    assert "1234" not in printed
    assert all(letter.isprintable() for letter in printed.replace("\n", ""))
    assert "a?[2Jb[red] failed:\n?]0;title?first\n?31mlast?\n" in printed
    assert "0 of ?" in printed


def test_a_damaged_run_is_a_row_that_says_so(tmp_path: Path) -> None:
    for name, text in (("a", '{"episodes": '), ("b", "")):
        (tmp_path / name / "traces").mkdir(parents=True)
        (tmp_path / name / CONFIG).write_text("episodes: 8\n")
        (tmp_path / name / "traces" / "0.parquet").write_bytes(b"PAR1")
        if text:
            (tmp_path / name / "checkpoint.json").write_text(text)
    jobs = read_jobs(tmp_path, 2)
    assert [(job.name, job.state) for job in jobs] == [("a", "damaged"), ("b", "damaged")]
    assert "checkpoint.json is damaged" in jobs[0].error[0]
    assert "0.parquet is no readable trace file" in jobs[1].error[0]
