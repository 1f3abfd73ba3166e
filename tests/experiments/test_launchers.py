"""The group ``launcher``, without anything that it launches on; tests/cluster has a real Slurm."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from experiments import train
from experiments.run.command import NEEDS
from experiments.run.folder import job_name
from experiments.run.options import SlurmOptions
from experiments.sweep_status import read_jobs
from steer_env.traces import read_traces

ROOT = Path(__file__).parents[2]
SMALL = ("episodes=4", "batch=4", "threads=1", "env.rounds=1", "env.proposals=1")


@pytest.mark.parametrize(
    "option",
    [
        "launcher=slurm",
        "studio=ray",
        "studio.count=8",
        "launcher.partition=gpu",
        "+launcher.sbatch.nice=5",
        "+launcher.sbatch={nice: 5}",
    ],
)
def test_where_a_job_runs_doesnt_name_its_folder(option: str) -> None:
    assert job_name(["seed=1", "threads=2", option, "agent=ppo"]) == "agent=ppo,seed=1"


@pytest.mark.parametrize("value", ["csv:/data/a/b.csv", "[a,b]", "x" * 300, "~/tasks", "a b*?", "é"])
def test_a_job_has_one_short_plain_folder_of_its_own(value: str) -> None:
    name, other = job_name([f"env.suite={value}"]), job_name([f"env.suite={value}x"])
    assert re.fullmatch(r"[\w.,=+-]{1,120}", name)
    assert name != other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["folder=a", "hydra.sweep.dir=b"], "folder= and hydra.sweep.dir= both name the folder"),
        (["launcher.partitoin=x"], "unknown option of launcher basic 'partitoin'; did you mean 'partition'"),
        (["launcher=slurm"], "launcher=slurm needs a package that isn't here: make setup"),
        (["studio=ray"], "studio=ray needs a package that isn't here: make setup"),
    ],
)
def test_what_isnt_there_is_an_error_that_says_what_is(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    # The package's own attribute of this name is the function.
    monkeypatch.setattr(sys.modules["experiments.run.command"], "find_spec", lambda module: None)
    with pytest.raises(ValueError, match=message):
        command(train.main, "--multirun", "folder=x", *options)


@pytest.mark.skipif(not importlib.util.find_spec(NEEDS["launcher=slurm"]), reason="needs the extra slurm")
def test_a_launcher_without_a_sweep_is_refused(refuses: Callable[..., None]) -> None:
    refuses(train.main, "launcher=slurm is for sweeps: add --multirun", "launcher=slurm")


@pytest.mark.slow
def test_a_run_that_doesnt_ask_for_a_cluster_imports_nothing_of_it(tmp_path: Path) -> None:
    options = ["train", "--multirun", f"folder={tmp_path}", *SMALL]
    code = "import sys; from examples.your_generator import Blots; from steer_env.tiles import generator"
    code += "; generator.load = lambda **_: Blots()"
    code += f"; from experiments import train; sys.argv = {options}; train.main()"
    code += "; print([name for name in ('submitit', 'ray') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.splitlines()[-1] == "[]"


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec(NEEDS["launcher=joblib"]), reason="needs the extra joblib")
def test_joblib_runs_jobs_side_by_side(tmp_path: Path, command: Callable[..., None]) -> None:
    """By the command itself: what it passes to other processes depends on being the main module."""
    sweep, alone = tmp_path / "sweep", tmp_path / "alone"
    launcher = ["launcher=joblib", "launcher.jobs=2", "env.suite=tiles-train-v1,tiles-trein"]
    program = [sys.executable, "-m", "experiments.train", "--multirun", f"folder={sweep}", *SMALL, *launcher]
    result = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 2
    assert "unknown suite 'tiles-trein'" in result.stderr
    done, failed = sorted(read_jobs(sweep, window=4), key=lambda job: job.state)
    assert (done.state, failed.state) == ("done", "failed")
    command(train.main, f"folder={alone}", *SMALL)
    assert read_traces(sweep / done.name / "traces") == read_traces(alone / "traces")


def test_the_page_about_slurm_names_options_that_exist() -> None:
    page = (ROOT / "docs" / "slurm.md").read_text()
    names = set(re.findall(r"launcher\.(\w+)", page)) | {"account", "qos", "constraint"}
    assert names == {f.name for f in fields(SlurmOptions)} - {"kind"}
