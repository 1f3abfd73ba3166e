"""A job of a cluster that is stopped and started again, as its environment tells it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from agents import training
from agents.files import RESULT
from experiments import train
from experiments.run import folder
from steer_env.traces import read_traces

pytestmark = pytest.mark.usefixtures("blots")

SMALL = ("episodes=32", "batch=2", "env.rounds=1", "env.proposals=1")


def test_a_requeued_job_goes_on_even_if_it_was_to_overwrite(
    tmp_path: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"folder={tmp_path}", *SMALL, "overwrite=true"]
    play, batches = training.play, iter(range(16))

    def preempted(*args: Any) -> Any:
        if next(batches) == 10:
            raise SystemExit(255)
        return play(*args)

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with monkeypatch.context() as patch:
        patch.setattr(training, "play", preempted)
        with pytest.raises(SystemExit):
            command(train.main, *options)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    command(train.main, *options)
    assert f"going on with the unfinished run in {tmp_path}\n" in capsys.readouterr().out
    assert len(read_traces(tmp_path / "traces")) == 32
    with pytest.raises(FileExistsError, match="holds a finished run"):
        command(train.main, *options)
    before = (tmp_path / RESULT).stat().st_mtime_ns
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    command(train.main, *options)
    assert (tmp_path / RESULT).stat().st_mtime_ns > before


def test_only_a_requeued_job_has_begun_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / folder.JOB).write_text("7")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    assert not folder.has_begun(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert not folder.has_begun(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert folder.has_begun(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert not folder.has_begun(tmp_path)


def test_a_requeued_job_waits_for_its_first_try_to_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_PATIENCE", 0.1)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    code = "import filelock, sys, time\nwith filelock.FileLock(sys.argv[1]):\n    print('held')\n    time.sleep(1)"
    holder = [sys.executable, "-uc", code, str(tmp_path / folder.LOCK)]
    with subprocess.Popen(holder, stdout=subprocess.PIPE, text=True) as process, folder.held:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        folder.claim(tmp_path)
        assert folder.lock_of(tmp_path).is_locked
        assert folder.is_claimed(tmp_path)
    with FileLock(tmp_path / folder.LOCK, blocking=False):
        assert not folder.lock_of(tmp_path).is_locked
