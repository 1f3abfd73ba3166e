"""From trainings to a ranked page to a verified claim, at the smallest size."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import leaderboard, train, verify
from steer_env.policies import HistoryPolicy, PolicyError, TablePolicy, read_policy
from steer_env.traces import read_traces, traces_to_frame

pytestmark = pytest.mark.usefixtures("blots")

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


@pytest.fixture
def sent(board: Path, tmp_path: Path) -> Path:
    """A policy that claims are about, as somebody else may have it."""
    return Path(shutil.copytree(board / "run-thompson-1" / "policy", tmp_path / "sent"))


@pytest.fixture
def claim(board: Path, sent: Path) -> Path:
    """What the leaderboard states of it."""
    return board / "board" / "claims" / f"{read_policy(sent).content()}.json"


def verdict(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text())["verdict"])


def test_claims_lie_with_the_board_and_nothing_is_written_to_submissions(board: Path) -> None:
    claims = [json.loads(path.read_text()) for path in (board / "board" / "claims").iterdir()]
    assert sorted(each["policy"] for each in claims) == ["learned", "learned", "learned (Eq. 9)"]
    frame = traces_to_frame(read_traces(board / "board" / "traces"))
    means = frame.groupby(["policy", "training_seed"])["improvement"].mean()
    learned = [means["learned", 0], means["learned", 1], means["learned (Eq. 9)", 0]]
    assert sorted(each["improvement"] for each in claims) == pytest.approx(sorted(learned))
    assert {(each["tasks"], each["noise"], each["rounds"]) for each in claims} == {(4, 0, 2)}
    for folder in board.glob("run-*/policy"):
        assert [path.name for path in folder.iterdir()] == ["policy.json"]
        assert "claim" not in (folder / "policy.json").read_text()


def test_a_claim_is_verified_on_its_own_episodes_and_with_fresh_noise(
    sent: Path, claim: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = [(path, path.read_bytes()) for path in sent.rglob("*")]
    given = (f"submission={sent}", f"claim={claim}", "env.rounds=2")
    command(verify.main, *given, f"folder={tmp_path}/same", "tasks=4", "noise=0")
    assert "the claim holds" in (said := capsys.readouterr().out)
    assert "the means are equal up to rounding" in said
    assert verdict(tmp_path / "same")["equal"]
    with suppress(SystemExit):
        command(verify.main, *given, f"folder={tmp_path}/fresh", "tasks=5")
    said = capsys.readouterr().out
    assert ("the claim holds" in said) is verdict(tmp_path / "fresh")["holds"]
    assert "other tasks or noise than the claim's" in said
    seeds = [[t.episode_seed for t in read_traces(tmp_path / name / "traces")] for name in ("same", "fresh")]
    assert [len(each) for each in seeds] == [4, 5], "the verifier chooses how many tasks"
    assert not set(seeds[0]) & set(seeds[1])
    assert [(path, path.read_bytes()) for path in sent.rglob("*")] == before


def test_a_claim_that_is_too_good_ends_with_status_1(
    sent: Path, claim: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """By a little on the same few tasks, and by much on others, whatever error is stated."""
    record = json.loads(claim.read_text())
    forged = tmp_path / "claim.json"
    for more, given in ((0.01, ["tasks=4", "noise=0"]), (0.9, ["tasks=5"])):
        forged.write_text(json.dumps(record | {"improvement": record["improvement"] + more, "error": 5.0}))
        folder = tmp_path / f"verified-{more}"
        with pytest.raises(SystemExit) as ended:
            command(verify.main, f"submission={sent}", f"claim={forged}", f"folder={folder}", "env.rounds=2", *given)
        assert ended.value.code == 1
        assert "the claim does not hold" in capsys.readouterr().out


def test_a_number_may_be_claimed_or_nothing(
    sent: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    given = (f"submission={sent}", "env.rounds=2", "tasks=4")
    command(verify.main, *given, f"folder={tmp_path}/found")
    found = json.loads((tmp_path / "found" / "result.json").read_text())["found"]["value"]
    assert f"found {found:.4f}" in capsys.readouterr().out
    command(verify.main, *given, f"claim={found}", f"folder={tmp_path}/number")
    assert verdict(tmp_path / "number")["holds"]
    with pytest.raises(SystemExit):
        command(verify.main, *given, f"claim={found + 0.9}", f"folder={tmp_path}/high")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.rounds=3", "is about rounds 2, not 3: change env to verify it"),
        ("env.suite=tiles-val-v1", "is about suite tiles-test-v1, not tiles-val-v1; rounds 2, not 4"),
        ("human=softmax", "is about human greedy, not softmax-0.13; rounds 2, not 4"),
        ("tasks=2001", "tasks must be 2 to 2000, the size of tiles-test-v1, got 2001"),
        ("claim=high", "high is neither a number nor a file with a claim"),
        ("claim=nan", "nan is neither a number nor a file with a claim"),
        ("submission=SENT/../none", r"holds no policy\.json"),
        ("folder=SENT/verified", "is where the policy .*sent is kept: choose another folder"),
    ],
)
def test_what_cannot_be_verified(
    sent: Path, claim: Path, tmp_path: Path, command: Callable[..., None], override: str, message: str
) -> None:
    given = {"submission": str(sent), "claim": str(claim), "folder": f"{tmp_path}/verified"}
    name, _, value = override.partition("=")
    given[name] = value.replace("SENT", str(sent))
    with pytest.raises(ValueError, match=message):
        command(verify.main, *(f"{name}={value}" for name, value in given.items()))
    assert not (tmp_path / "verified").exists()
    assert not (sent / "verified").exists()


def test_a_claim_about_another_policy(board: Path, claim: Path, tmp_path: Path, command: Callable[..., None]) -> None:
    other = board / "run-thompson-0"
    with pytest.raises(PolicyError, match="is about another policy, called 'learned'"):
        command(verify.main, f"submission={other}", f"claim={claim}", f"folder={tmp_path}/verified", "env.rounds=2")


def test_a_bad_submission_is_a_row_of_its_own(
    board: Path, tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The numbers of the others are those of a board without it."""
    for name in ("random bucket", "cut", "short"):
        TablePolicy("x", np.zeros((2, 2)), 3).save(tmp_path / "sent" / name)
    record = tmp_path / "sent" / "random bucket" / "policy.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"name": "random bucket", "seal": None}))
    (tmp_path / "sent" / "cut" / "policy.json").write_text('{"kind": ')
    HistoryPolicy("short", [np.zeros(1)]).save(tmp_path / "sent" / "short")
    given = [f"folder={tmp_path}/board", f"policies=[random-bucket,'{tmp_path}/sent/*']", *SMALL, "strips=0"]
    command(leaderboard.main, *given)
    found = json.loads((tmp_path / "board" / "leaderboard.json").read_text())
    assert [row["policy"] for row in found["rows"]] == ["random bucket"]
    usual = json.loads((board / "board" / "leaderboard.json").read_text())["rows"]
    (before,) = [row["improvement"]["value"] for row in usual if row["policy"] == "random bucket"]
    assert found["rows"][0]["improvement"]["value"] == pytest.approx(before)
    reasons = {Path(spec).name: reason for spec, reason in found["refused"].items()}
    assert "like a built-in one" in reasons["random bucket"]
    assert "is no policy" in reasons["cut"]
    assert "knows 1 rounds" in reasons["short"]
    page = (tmp_path / "board" / "report.md").read_text()
    assert "## Refused" in page
    assert "refused: " in capsys.readouterr().out


def test_without_any_good_submission_nothing_is_left(tmp_path: Path, command: Callable[..., None]) -> None:
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "policy.json").write_text("{}")
    with pytest.raises(ValueError, match="no policy is left to be ranked"):
        command(leaderboard.main, f"folder={tmp_path}/board", f"policies=['{tmp_path}/sent']")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resamples=0", "resamples must be from 1 to 1000000, got 0"),
        ("timed_tasks=0", "timed_tasks must be at least 1, got 0"),
        ("tasks=1", "tasks must be at least 2, got 1"),
        ("robust_human=nosy", "unknown human 'nosy'"),
        ("policies=[no/such/*]", "no folder with a policy matches no/such"),
    ],
)
def test_errors_come_before_any_work(refuses: Callable[..., None], override: str, message: str) -> None:
    refuses(leaderboard.main, message, override)
