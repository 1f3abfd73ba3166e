"""A sweep on a real Slurm of one node, which stops two of its jobs on the way."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agents.files import CHECKPOINT
from experiments import train
from experiments.run.folder import JOB
from experiments.sweep_status import read_jobs
from steer_env.traces import read_traces
from tests.cluster.one_node import one_node, wait_until, why_not

ROOT = Path(__file__).parents[2]
SMALL = ("batch=2", "threads=1", "env.rounds=2", "env.proposals=1", "generator.steps=1")
EPISODES, SEEDS = 128, (1, 2, 3)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.skipif(
        not importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher"), reason="needs the extra slurm"
    ),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a cluster's user."""
    with one_node(tmp_path_factory.mktemp("slurm")) as env:
        yield env


def job(folder: Path, seed: int) -> Path:
    return folder / f"batch=2,env.proposals=1,env.rounds=2,episodes={EPISODES},generator.steps=1,seed={seed}"


def stop(run: Path, command: list[str], env: dict[str, str]) -> str:
    """Stop a run's job once it has a checkpoint; gives the job's number."""
    wait_until((run / CHECKPOINT).is_file, f"a checkpoint of {run.name}", seconds=120)
    number = (run / JOB).read_text()
    # While jobs of the same sweep are pending, scancel takes a signal that arrived for one that didn't, and would send
    # it again after five seconds.
    with suppress(subprocess.TimeoutExpired):
        subprocess.run([*command, number], env=env, check=True, timeout=0.5)
    return number


def bring_back(number: str, env: dict[str, str]) -> None:
    """End the two minutes for which Slurm holds back a requeued job."""

    def waits() -> bool:
        shown = subprocess.run(["scontrol", "show", "job", number], env=env, capture_output=True, text=True, check=True)
        return "JobState=PENDING" in shown.stdout and "Restarts=1" in shown.stdout

    wait_until(waits, f"job {number} to be back in the queue")
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], env=env, check=True)


def output(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob(".submitit/*/*_log.*")))


def test_a_sweep_goes_on_when_its_jobs_are_stopped(
    slurm: dict[str, str], tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    sweep = [f"folder={folder}", f"episodes={EPISODES}", "seed=1,2,3", *SMALL]
    launcher = ["launcher=slurm", "launcher.partition=debug", "launcher.memory_gb=1", "overwrite=true"]
    start = [sys.executable, "-m", "experiments.train", "--multirun", *sweep, *launcher]
    preempted, killed = (job(folder, seed) for seed in SEEDS[:2])
    with (tmp_path / "client.log").open("wb") as log:
        client = subprocess.Popen(start, env=slurm, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        stopped = [stop(preempted, ["scancel", "--signal=USR2"], slurm), stop(killed, ["scontrol", "requeue"], slurm)]
        for number in stopped:
            bring_back(number, slurm)
        assert {found.state for found in read_jobs(folder, window=8)} - {"done"}
        assert client.wait(240) == 0, (tmp_path / "client.log").read_text() + output(folder)
    finally:
        client.kill()
        client.wait()
    played = [(found.name, found.state, found.played) for found in read_jobs(folder, window=8)]
    assert played == [(job(folder, seed).name, "done", EPISODES) for seed in SEEDS]
    said = output(folder)
    assert f"going on with the unfinished run in {preempted}\n" in said
    for run, seed in zip((preempted, killed), SEEDS, strict=False):
        alone = tmp_path / f"alone-{seed}"
        command(train.main, f"folder={alone}", f"seed={seed}", f"episodes={EPISODES}", *SMALL)
        # A fast machine may finish the killed one in the second that Slurm gives it. It starts again all the same,
        # maybe after the client has ended.
        again = rf"(going on with the unfinished run in|finished before, skipped:) {re.escape(str(run))}\n"
        wait_until(lambda again=again: bool(re.search(again, output(folder))), f"{run.name} to start again", seconds=60)
        for name in ("policy/policy.json", CHECKPOINT):
            assert (run / name).read_text() == (alone / name).read_text()
        assert read_traces(run / "traces") == read_traces(alone / "traces")
    command(train.main, "--multirun", *sweep)
    assert capsys.readouterr().out.count("finished before, skipped") == len(SEEDS)
