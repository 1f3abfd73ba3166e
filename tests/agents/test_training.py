import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import checkpoints, training
from agents.episodes import Training
from agents.files import CHECKPOINT, RunExistsError, read_checkpoint
from agents.thompson import ThompsonSampling
from agents.training import train
from steer_env.evaluation.rollout import make_env
from steer_env.files import DamagedError, seal
from steer_env.traces import read_traces
from tests.conftest import BLOTS

EPISODES = 22
BATCH = 4


def run(folder: Path, episodes: int = EPISODES, seed: int = 3, **options: Any) -> tuple[ThompsonSampling, bool]:
    agent = ThompsonSampling(**options)
    return agent, train(agent, make_env(BATCH, **BLOTS), Training(episodes, seed, batches_per_checkpoint=2), folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder)[1]
    return folder


def equal(one: Path, other: Path) -> None:
    checkpoints = [read_checkpoint(folder) for folder in (one, other)]
    assert checkpoints[0]
    assert checkpoints[1]
    # The files of traces may end elsewhere.
    for name in ("identity", "episodes", "agent"):
        assert checkpoints[0][name] == checkpoints[1][name]
    assert read_traces(one / "traces") == read_traces(other / "traces")


def test_every_episode_is_played_once(uninterrupted: Path) -> None:
    traces = read_traces(uninterrupted / "traces")
    assert len(traces) == EPISODES
    assert len({trace.task_index for trace in traces}) == EPISODES
    assert len({trace.episode_seed for trace in traces}) == EPISODES
    checkpoint = json.loads((uninterrupted / CHECKPOINT).read_text())
    assert np.sum(checkpoint["agent"]["counts"]) == 4 * EPISODES


def test_the_checkpoint_is_what_the_traces_add_up_to(uninterrupted: Path) -> None:
    agent = ThompsonSampling()
    agent.update(read_traces(uninterrupted / "traces"))
    checkpoint = json.loads((uninterrupted / CHECKPOINT).read_text())
    assert checkpoint["agent"]["counts"] == agent.counts.tolist()
    np.testing.assert_allclose(checkpoint["agent"]["sums"], agent.sums)


def test_the_same_seed_gives_the_same_training(uninterrupted: Path, tmp_path: Path) -> None:
    run(tmp_path)
    equal(uninterrupted, tmp_path)


def test_ctrl_c_stops_after_the_batch_and_the_resumed_run_equals_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play, calls = training.play, []

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return play(*args)

    monkeypatch.setattr(training, "play", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert not run(tmp_path)[1]
    assert len(calls) == 3
    assert signal.getsignal(signal.SIGINT) is before
    assert len(read_traces(tmp_path / "traces")) == 3 * BATCH
    assert run(tmp_path)[1]
    equal(uninterrupted, tmp_path)


def crash(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """The batch of that number, from 1, isn't played, the first time that it is to be."""
    play, calls = training.play, []

    def crashing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == place:
            raise MemoryError("no more")
        return play(*args)

    monkeypatch.setattr(training, "play", crashing)


@pytest.mark.parametrize("crash_at", [1, 2, 4])
def test_a_crashed_run_goes_on_from_its_checkpoint_exactly(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    crash(monkeypatch, crash_at)
    with pytest.raises(MemoryError):
        run(tmp_path)
    assert run(tmp_path)[1]
    equal(uninterrupted, tmp_path)


def test_a_crash_between_traces_and_checkpoint_counts_no_episode_twice(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoints.write_json

    def crashing(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, "write_json", crashing)
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path)
    assert list((tmp_path / "traces").iterdir())
    monkeypatch.setattr(checkpoints, "write_json", write)
    assert run(tmp_path)[1]
    equal(uninterrupted, tmp_path)


def test_a_checkpoint_of_before_goes_on_unless_it_was_played_in_parts_or_behind(tmp_path: Path) -> None:
    run(tmp_path, episodes=12)
    path = tmp_path / CHECKPOINT
    old = json.loads(path.read_text())
    for name in ("parts", "lag"):
        changed = old | {"identity": old["identity"] | {name: 2}}
        path.write_text(json.dumps(changed | {"seal": seal(changed)}))
        with pytest.raises(RunExistsError, match=f"holds a run with {{'{name}': 2}}"):
            run(tmp_path)


def test_a_longer_training_goes_on_from_a_finished_one(uninterrupted: Path, tmp_path: Path) -> None:
    run(tmp_path, episodes=12)
    run(tmp_path)
    equal(uninterrupted, tmp_path)


@pytest.mark.parametrize(
    ("change", "named"), [({"seed": 4}, "'seed': 3"), ({"prior_variance": 0.5}, "'prior_variance': 1.0")]
)
def test_a_folder_with_another_configuration_is_refused(
    uninterrupted: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(RunExistsError, match=f"holds a run with {{{named}}}, not .*choose another folder"):
        run(uninterrupted, **change)


def flipped(path: Path, place: float) -> None:
    """One bit of a file, that far into it, is another one."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [CHECKPOINT, "traces/00000000.parquet", "traces/00000008.parquet"])
def test_what_is_damaged_is_refused_by_name(tmp_path: Path, name: str) -> None:
    run(tmp_path, episodes=12)
    for place in np.linspace(0, 0.999, 30):
        before = (tmp_path / name).read_bytes()
        flipped(tmp_path / name, place)
        with pytest.raises(DamagedError, match=re.escape(str(tmp_path / name))):
            run(tmp_path)
        (tmp_path / name).write_bytes(before[: int(place * len(before))])
        with pytest.raises(DamagedError, match=re.escape(str(tmp_path / name))):
            run(tmp_path)
        (tmp_path / name).write_bytes(before)


def test_a_deleted_and_a_foreign_file_of_traces_are_refused_by_name(uninterrupted: Path, tmp_path: Path) -> None:
    run(tmp_path, episodes=12)
    first, foreign = tmp_path / "traces" / "00000000.parquet", tmp_path / "traces" / "00000099.parquet"
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(DamagedError, match=r"00000000\.parquet is missing, which the checkpoint lists"):
        run(tmp_path)
    first.write_bytes(content)
    foreign.write_bytes((uninterrupted / "traces" / "00000008.parquet").read_bytes())
    with pytest.raises(DamagedError, match=r"00000099\.parquet isn't a file of this run"):
        run(tmp_path)
    foreign.unlink()
    run(tmp_path)
    equal(uninterrupted, tmp_path)


def test_a_folder_that_is_removed_while_a_run_is_at_work_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play, calls = training.play, []

    def removing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            shutil.rmtree(tmp_path / "run")
        return play(*args)

    monkeypatch.setattr(training, "play", removing)
    with pytest.raises(FileNotFoundError, match="run was removed, or emptied, while the run was at work there"):
        run(tmp_path / "run")
