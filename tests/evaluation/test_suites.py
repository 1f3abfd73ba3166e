"""What a folder has of an evaluation, and what it lacks."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from steer_env.evaluation.suites import evaluate, play_missing
from steer_env.humans import load_prompter
from steer_env.policies import RandomScalePolicy
from steer_env.traces import SteeringTrace, TraceVersionError
from tests.conftest import CountingGenerator

POLICIES = [RandomScalePolicy(), load_prompter("blind")]


@pytest.fixture
def options(counting_generator: CountingGenerator) -> dict[str, Any]:
    return {"suite": "tiles-val-v1", "rounds": 1, "proposals": 1, "generator": counting_generator}


def joined(batches: Any) -> list[SteeringTrace]:
    return [trace for batch in batches for trace in batch]


def test_what_a_folder_has_is_not_played_again(
    tmp_path: Path, options: dict[str, Any], counting_generator: CountingGenerator
) -> None:
    whole = joined(evaluate(POLICIES, 5, 2, **options))
    stopped = play_missing(POLICIES, 5, 2, tmp_path, **options)
    next(stopped)
    stopped.close()
    counting_generator.latents.clear()
    assert joined(play_missing(POLICIES, 5, 2, tmp_path, **options)) == whole
    made = len(counting_generator.latents)
    assert made == 3 * 2 * 2 + 3 * 2, "goals and first images for each kind, and what was shown"
    assert joined(play_missing(POLICIES, 5, 2, tmp_path, **options)) == whole
    assert len(counting_generator.latents) == made


def test_more_tasks_or_fewer_go_on_from_what_is_there(tmp_path: Path, options: dict[str, Any]) -> None:
    first = joined(play_missing(POLICIES[:1], 3, 2, tmp_path, **options))
    longer = joined(play_missing(POLICIES[:1], 5, 2, tmp_path, **options))
    assert [trace.task_index for trace in longer] == list(range(5))
    assert longer[:3] == first
    assert joined(play_missing(POLICIES[:1], 2, 2, tmp_path, **options)) == first[:2]


def test_nothing_is_kept_of_a_batch_that_was_cut_off(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RandomScalePolicy, "act", stop)
    with pytest.raises(KeyboardInterrupt):
        joined(play_missing(POLICIES, 5, 2, tmp_path, **options))
    assert not list(tmp_path.iterdir())


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1  # where values are: the footer has bytes that change nothing
    path.write_bytes(content)


def test_files_that_are_damaged_missing_or_others_change_no_result(tmp_path: Path, options: dict[str, Any]) -> None:
    """A deleted one is played again, exactly; the others are refused by name."""
    whole = joined(play_missing(POLICIES, 6, 2, tmp_path, **options))
    middle = tmp_path / "00000002.parquet"
    before = middle.read_bytes()
    middle.unlink()
    assert joined(play_missing(POLICIES, 6, 2, tmp_path, **options)) == whole
    assert middle.read_bytes() == before
    flipped(middle)
    with pytest.raises(TraceVersionError, match=r"00000002\.parquet is"):
        joined(play_missing(POLICIES, 6, 2, tmp_path, **options))
    middle.write_bytes((tmp_path / "00000000.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"00000002\.parquet holds other episodes than this run's"):
        joined(play_missing(POLICIES, 6, 2, tmp_path, **options))
    middle.write_bytes(before)
    with pytest.raises(ValueError, match="holds other episodes than this run's"):
        joined(play_missing(POLICIES, 6, 2, tmp_path, noise=1, **options))


def test_a_folder_that_is_removed_meanwhile_is_an_error(tmp_path: Path, options: dict[str, Any]) -> None:
    played = play_missing(POLICIES[:1], 3, 1, tmp_path / "traces", **options)
    next(played)
    shutil.rmtree(tmp_path / "traces")
    with pytest.raises(FileNotFoundError, match=r"00000000\.parquet was removed while the run was at work"):
        next(played)
