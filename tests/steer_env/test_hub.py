"""Policies and traces that go to a hub come back the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from steer_env import SteeringTrace, TablePolicy, Task
from steer_env.hub import pull_policy, pull_traces, push_policy, push_traces
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.policies.stored import PolicyError
from tests.steer_env.hub_on_loopback import hub_in

CARD = PolicyCard(TrainingRecord("tiles-train-v1", 512, {"agent": {"kind": "planning"}}, {"torch": "2.13.0"}))
POLICY = TablePolicy("mine", np.array([[0.9, 0.8], [0.5, 0.4]]), training_seed=3, card=CARD)
TASK = Task(suite="tiles-test-v1", index=4, goal_prompt="stars", goal_seed=1, prompt="star", initial_seed=2)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Where to send; and a cache of its own to fetch into."""
    with hub_in(tmp_path / "hub") as endpoint:
        yield {"endpoint": endpoint, "token": False}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def episode(policy: str, last: float) -> SteeringTrace:
    parts = {"human": "greedy", "generator": "tiles", "metric": "tile-perceptual", "mechanism": "mixture"}
    return SteeringTrace.of(TASK, policy=policy, similarities=[0.25, last], scales=[0.5], choices=[1], **parts)


def front(card: Path) -> tuple[dict[str, Any], str]:
    """Metadata and text of a card."""
    _, metadata, text = card.read_text().split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_a_policy_comes_back_the_same(hub: dict[str, Any], cache: Path, tmp_path: Path) -> None:
    commit = push_policy(POLICY, "me/mine", **hub)
    back = pull_policy("me/mine", commit, cache_dir=cache, **hub)
    assert (back.record(), back.card) == (POLICY.record(), CARD)
    metadata, text = front(tmp_path / "hub" / "models" / "me" / "mine" / commit / "README.md")
    assert metadata["library_name"] == "steer_env"
    assert "| trained on | tiles-train-v1 |" in text
    assert "| 1 | [0.9, 0.8] |" in text


def test_an_old_commit_stays_what_it_was(hub: dict[str, Any], cache: Path) -> None:
    first = push_policy(POLICY, "me/mine", **hub)
    second = push_policy(TablePolicy.schedule("mine", [0.1]), "me/mine", **hub)
    assert first != second
    assert pull_policy("me/mine", first, cache_dir=cache, **hub).record() == POLICY.record()


def test_what_was_fetched_needs_no_hub(hub: dict[str, Any], cache: Path) -> None:
    commit = push_policy(POLICY, "me/mine", **hub)
    pull_policy("me/mine", commit, cache_dir=cache, **hub)
    offline = pull_policy("me/mine", commit, endpoint="http://127.0.0.1:9", cache_dir=cache, local_files_only=True)
    assert offline.record() == POLICY.record()


def test_traces_come_back_the_same(hub: dict[str, Any], cache: Path, tmp_path: Path) -> None:
    traces = [episode("mine", 0.5), episode("mine", 0.75), episode("other", 0.25)]
    commit = push_traces(traces, "me/episodes", **hub)
    assert pull_traces("me/episodes", commit, cache_dir=cache, **hub) == traces
    metadata, text = front(tmp_path / "hub" / "datasets" / "me" / "episodes" / commit / "README.md")
    assert metadata["configs"] == [{"config_name": "default", "data_files": "traces.parquet"}]
    assert "| mine | 2 | 0.3750 |" in text


@pytest.mark.parametrize("revision", ["main", "", "v1", "a" * 39, "A" * 40])
def test_a_branch_is_no_revision(revision: str) -> None:
    with pytest.raises(ValueError, match="must be a commit, 40 hexadecimal digits"):
        pull_policy("me/mine", revision, endpoint="http://127.0.0.1:9")


def test_code_in_a_repository_is_not_fetched(hub: dict[str, Any], cache: Path, tmp_path: Path) -> None:
    commit = push_policy(POLICY, "me/mine", **hub)
    (tmp_path / "hub" / "models" / "me" / "mine" / commit / "model.pkl").write_bytes(b"\x80\x04N.")
    assert pull_policy("me/mine", commit, cache_dir=cache, **hub).name == "mine"
    assert not list(cache.rglob("*.pkl"))


def test_a_repository_without_a_policy_is_refused(hub: dict[str, Any], cache: Path, tmp_path: Path) -> None:
    commit = push_policy(POLICY, "me/mine", **hub)
    (tmp_path / "hub" / "models" / "me" / "mine" / commit / "policy.json").write_text('{"kind": "table"}')
    with pytest.raises(PolicyError, match=rf"me/mine@{commit[:8]}/policy.json is no policy: name"):
        pull_policy("me/mine", commit, cache_dir=cache, **hub)


def test_nothing_to_send_is_refused() -> None:
    with pytest.raises(ValueError, match="no traces"):
        push_traces([], "me/episodes", endpoint="http://127.0.0.1:9")


def test_a_policy_of_a_hub_doesnt_pass_for_a_built_in_one(hub: dict[str, Any], cache: Path) -> None:
    commit = push_policy(TablePolicy("published", np.full((4, 2), 0.1), training_seed=3), "me/mine", **hub)
    with pytest.raises(PolicyError, match=rf"me/mine@{commit[:8]}: a policy is called 'published', like a built-in"):
        pull_policy("me/mine", commit, cache_dir=cache, **hub)
