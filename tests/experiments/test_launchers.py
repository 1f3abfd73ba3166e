"""The group ``launcher``, without anything that it launches on; tests/cluster has a real Slurm."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from conf import launchers
from conf.launchers import JoblibConfig, LauncherConfig, SlurmConfig
from experiments import train

ROOT = Path(__file__).parents[2]
SMALL = ("episodes=4", "batch=4", "threads=1", "env.rounds=1", "env.proposals=1")


def test_where_a_job_runs_doesnt_name_its_folder() -> None:
    known = OmegaConf.load(ROOT / "conf" / "run_folder.yaml").hydra.job.config.override_dirname.exclude_keys
    options = {f"launcher.{f.name}" for kind in (LauncherConfig, JoblibConfig, SlurmConfig) for f in fields(kind)}
    assert {name for name in known if name.startswith("launcher")} == {"launcher"} | options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["launcher.partitoin=x"], "unknown option of train 'partitoin'; did you mean 'partition'"),
        (["launcher=slurm"], "launcher=slurm needs a package that isn't here: pip install 'steer-env\\[slurm\\]'"),
    ],
)
def test_what_isnt_there_is_an_error_that_says_what_is(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.setattr(launchers, "find_spec", lambda module: None)
    with pytest.raises(SystemExit, match=message):
        command(train.main, "--multirun", "folder=x", *options)


@pytest.mark.skipif(not launchers.find_spec(launchers.PLUGINS["slurm"]), reason="needs the extra slurm")
def test_a_launcher_without_a_sweep_is_refused(tmp_path: Path, command: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="launcher=slurm is for sweeps: add --multirun"):
        command(train.main, f"folder={tmp_path / 'new'}", "launcher=slurm")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_run_that_doesnt_ask_for_a_cluster_imports_nothing_of_it(tmp_path: Path) -> None:
    options = ["train", "--multirun", f"folder={tmp_path}", *SMALL]
    code = f"import sys; from experiments import train; sys.argv = {options}; train.main(); print('submitit' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.splitlines()[-1] == "False"
