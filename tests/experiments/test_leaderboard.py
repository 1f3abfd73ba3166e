"""From trainings to a ranked page to a verified claim, at the smallest size."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import leaderboard, train, verify
from steer_env.policies import PolicyError, TablePolicy, read_policy
from steer_env.traces import read_traces

SMALL = ["tasks=4", "tasks_per_batch=3", "env.rounds=2", "timed_tasks=2", "strips=1", "resamples=200"]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two agents, one of them with two training seeds, on a leaderboard with a noisy user that leaves claims."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")
        for agent, seed in (("thompson", 0), ("thompson", 1), ("thompson-eq9", 0)):
            run = [f"folder={folder}/run-{agent}-{seed}", f"agent={agent}", f"seed={seed}"]
            patch.setattr(sys, "argv", ["train", *run, "episodes=8", "batch=8", "env.rounds=2"])
            train.main()
        players = f"policies=[random-bucket,text:blind,{folder}/run-*]"
        options = [f"folder={folder}/board", players, *SMALL, "robust_human=softmax", "claim=true"]
        patch.setattr(sys, "argv", ["leaderboard", *options])
        leaderboard.main()
    return folder


def test_the_page_is_made_from_nothing(board: Path) -> None:
    record = json.loads((board / "board" / "leaderboard.json").read_text())
    rows = {row["policy"]: row for row in record["rows"]}
    assert set(rows) == {"random bucket", "text blind", "learned", "learned (Eq. 9)"}
    assert (record["suite"], record["tasks"], record["noisy_human"]) == ("tiles-test-v1", 4, "softmax-0.13")
    assert record["versions"]["steer_env"]
    learned, single = rows["learned"], rows["learned (Eq. 9)"]
    assert (learned["training_seeds"], learned["episodes"], learned["training_episodes"]) == (2, 8, 8)
    assert (single["training_seeds"], single["rank"], record["rows"][-2]["policy"]) == (1, None, "learned (Eq. 9)")
    assert rows["random bucket"]["training_episodes"] == 0
    assert sorted(rows[name]["rank"] for name in ("random bucket", "learned")) == [1, 2]
    text = rows["text blind"]
    assert (text["track"], text["rank"], text["images"]) == ("text", 1, 2 + 2), (
        "users who write are a track of their own"
    )
    assert (learned["track"], learned["images"]) == ("mixture", 2 + 2 * 2)
    assert all(row["seconds"] > 0 for row in rows.values())
    assert rows["text blind"]["robust"] is None
    assert "pixel-correlation" in learned["judged"]
    page = (board / "board" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "<script>" in page
    assert not re.search("https?://", page), "it needs no network"


def test_its_numbers_are_those_of_the_traces(board: Path) -> None:
    record = json.loads((board / "board" / "leaderboard.json").read_text())
    traces = read_traces(board / "board" / "traces")
    noisy = read_traces(board / "board" / "traces" / "noisy")
    assert {trace.human for trace in noisy} == {"softmax-0.13"}
    for row in record["rows"]:
        own = [trace.improvement for trace in traces if trace.policy == row["policy"]]
        assert row["improvement"]["value"] == pytest.approx(np.mean(own))
        if row["robust"]:
            theirs = [trace.improvement for trace in noisy if trace.policy == row["policy"]]
            assert row["robust"]["value"] == pytest.approx(np.mean(theirs))


def test_it_goes_on_where_it_stopped(board: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    folder = tmp_path / "board"
    options = [f"folder={folder}", f"policies=[random-bucket,{board}/run-thompson-*]", *SMALL, "strips=0"]
    command(leaderboard.main, *options)
    before = json.loads((folder / "leaderboard.json").read_text())["rows"]
    first, second = sorted((folder / "traces").glob("*.parquet"))
    untouched = first.stat().st_mtime_ns
    second.unlink()
    (folder / "result.json").unlink()
    command(leaderboard.main, *options)
    assert first.stat().st_mtime_ns == untouched
    after = json.loads((folder / "leaderboard.json").read_text())["rows"]
    assert [row | {"seconds": 0} for row in after] == [row | {"seconds": 0} for row in before]


def test_a_claim_is_verified_on_its_own_episodes_and_with_fresh_noise(
    board: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    submission = board / "run-thompson-1"
    command(verify.main, f"submission={submission}", f"folder={tmp_path}/same", "env.rounds=2")
    assert "the claim holds" in (said := capsys.readouterr().out)
    assert "the means are equal up to rounding" in said
    result = json.loads((tmp_path / "same" / "result.json").read_text())
    assert (result["policy"], result["claim"]["tasks"], result["verdict"]["equal"]) == ("learned", 4, True)
    sent = tmp_path / "sent"
    shutil.copytree(submission / "policy", sent)
    with suppress(SystemExit):
        command(verify.main, f"submission={sent}", f"folder={tmp_path}/fresh", "env.rounds=2", "noise=3")
    verdict = json.loads((tmp_path / "fresh" / "result.json").read_text())["verdict"]
    said = capsys.readouterr().out
    assert ("the claim holds" in said) is verdict["holds"]
    assert "same tasks, other noise" in said
    seeds = [[t.episode_seed for t in read_traces(tmp_path / name / "traces")] for name in ("same", "fresh")]
    assert not set(seeds[0]) & set(seeds[1])


@pytest.fixture
def sent(board: Path, tmp_path: Path) -> Path:
    """A copy of a policy whose card claims scores."""
    return Path(shutil.copytree(board / "run-thompson-0" / "policy", tmp_path / "sent"))


def test_a_claim_that_is_too_good_ends_with_status_1(
    sent: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    policy = read_policy(sent)
    assert policy.card.claim is not None
    forged = replace(policy.card.claim, improvement=policy.card.claim.improvement + 0.9, error=5.0)
    policy.card = replace(policy.card, claim=forged)
    policy.save(sent)
    with pytest.raises(SystemExit) as ended:
        command(verify.main, f"submission={sent}", f"folder={tmp_path}/verified", "env.rounds=2")
    assert ended.value.code == 1
    assert "the claim does not hold" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.rounds=3", "the claim of 'learned' is about rounds 2, not 3: change env to verify it"),
        ("env.suite=tiles-val-v1", "is about suite tiles-test-v1, not tiles-val-v1; rounds 2, not 4"),
        ("env.human=softmax", "is about human greedy, not softmax-0.13; rounds 2, not 4"),
    ],
)
def test_a_claim_about_something_else(
    sent: Path, tmp_path: Path, command: Callable[..., None], override: str, message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        command(verify.main, f"submission={sent}", f"folder={tmp_path}/verified", override)
    assert not (tmp_path / "verified").exists()


def test_submissions_that_cannot_be_verified(tmp_path: Path, command: Callable[..., None]) -> None:
    TablePolicy.schedule("modest", [0.5]).save(tmp_path / "modest")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "policy.pkl").write_bytes(b"\x80\x04.")
    for name, message in (
        ("modest", "the card of 'modest' claims no scores: experiments.leaderboard writes them, claim=true"),
        ("evil", "holds policy.pkl, of a format that can run code"),
        ("none", "holds no policy.json"),
    ):
        with pytest.raises(PolicyError, match=message):
            command(verify.main, f"submission={tmp_path / name}", f"folder={tmp_path}/verified")


def test_a_claim_on_more_tasks_than_there_are(sent: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    policy = read_policy(sent)
    assert policy.card.claim is not None
    policy.card = replace(policy.card, claim=replace(policy.card.claim, tasks=2001))
    policy.save(sent)
    with pytest.raises(PolicyError, match="is about 2001 tasks; tiles-test-v1 has 2000"):
        command(verify.main, f"submission={sent}", f"folder={tmp_path}/verified", "env.rounds=2")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resamples=0", "resamples must be at least 1, got 0"),
        ("timed_tasks=0", "timed_tasks must be at least 1, got 0"),
        ("tasks=1", "tasks must be 2 to 2000"),
        ("robust_human=nosy", "unknown human 'nosy'"),
        ("policies=[no/such/*]", "no folder with a policy matches no/such"),
    ],
)
def test_errors_come_before_any_work(tmp_path: Path, command: Callable[..., None], override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command(leaderboard.main, f"folder={tmp_path / 'new'}", override)
    assert not (tmp_path / "new").exists()
