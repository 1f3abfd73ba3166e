"""A submission can't pass for a policy that isn't its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steer_env.files import seal
from steer_env.policies import PolicyError, TablePolicy, read_policy
from steer_env.policies.lists import load_policies

RESERVED = ["published", "random bucket", "random scale per session", "best known", "constant 0.9", "text blind"]
RESERVED += ["schedule 1.0 0.8 0.6 0.4", "text blind by echo"]
ALIKE = ["Published", "random-bucket", "random_bucket", "random.bucket", "pub1ished", "RANDOM BUCKET", "randorn bucket"]


def sent(folder: Path, name: str, seed: int = 3, scale: float = 0.1) -> str:
    """A submission of that name, which needn't be one that we'd write."""
    TablePolicy.schedule("mine", [scale]).save(folder)
    record = json.loads((folder / "policy.json").read_text()) | {"name": name, "training_seed": seed}
    (folder / "policy.json").write_text(json.dumps(record | {"seal": seal(record)}))
    return str(folder)


@pytest.mark.parametrize("name", [*RESERVED, *ALIKE])
def test_names_of_built_in_policies_are_theirs(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyError, match=r"sent: a policy is called .*, like a built-in one: random bucket"):
        load_policies([sent(tmp_path / "sent", name), "constant:0.5"])


@pytest.mark.parametrize(
    "name",
    [
        *("published ", " published", "publ\u200bished", "publ\u00adished", "рublished", "ｐublished", "publıshed"),
        *("𝐩ublished", "a\u202eb", "a\tb", "a\nb", "a\x1b[2J", "$\\frac{1}{$", "a|b", "<b>a</b>", "`a`", "a  b", ""),
        *("$(touch x)", "x" * 81),
    ],
)
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyError, match=r"name must be 1 to 80 plain characters"):
        read_policy(Path(sent(tmp_path / "sent", name)))


@pytest.mark.parametrize("name", ["learned (Eq. 9)", "PPO", "after 64 episodes", "planning:pooling=false", "tuned #2"])
def test_other_names_are_free(tmp_path: Path, name: str) -> None:
    (policy,) = load_policies([sent(tmp_path / "sent", name)])
    assert policy.name == name


def test_submissions_may_not_look_like_each_other(tmp_path: Path) -> None:
    specs = [sent(tmp_path / "a", "PPO 1"), sent(tmp_path / "b", "PPO l", 4)]
    with pytest.raises(PolicyError, match="a policy is called 'PPO l', which looks like 'PPO 1'"):
        load_policies(specs)


def test_what_is_refused_can_be_collected(tmp_path: Path) -> None:
    good = sent(tmp_path / "good", "good")
    bad = [sent(tmp_path / "a", "published"), sent(tmp_path / "b", "nested"), sent(tmp_path / "c", "good", 3, 0.2)]
    (tmp_path / "b" / "policy.json").write_text("[" * 50_000)
    refused: dict[str, str] = {}
    policies = load_policies(["published", good, *bad], refused=refused)
    assert [policy.name for policy in policies] == ["published", "good"]
    assert list(refused) == bad
    assert [reason for reason in refused.values() if "\n" in reason] == []
    assert "'good' is listed twice" in refused[bad[2]]
    with pytest.raises(ValueError, match="unknown policy"):
        load_policies(["publish", good], refused=refused)


def test_a_copy_with_another_seed_is_no_further_training(tmp_path: Path) -> None:
    """A board ranks what was trained more than once: a copy, or nearly one, would buy a rank."""
    seeds = {"a": (3, 0.1), "b": (4, 0.1), "c": (5, 0.1004), "d": (6, 0.2)}
    specs = [sent(tmp_path / name, "mine", seed, scale) for name, (seed, scale) in seeds.items()]
    refused: dict[str, str] = {}
    assert [policy.training_seed for policy in load_policies(specs, refused=refused)] == [3, 6]
    assert list(refused) == specs[1:3]
    assert "with seed 4 does what the one with seed 3 does: a copy is no further training" in refused[specs[1]]


def test_a_submission_without_a_policy_stops_no_board(tmp_path: Path) -> None:
    """A link to nothing, a folder of that name, or nothing at all."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder" / "policy.json").mkdir(parents=True)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "policy.json").symlink_to(tmp_path / "none")
    specs = [str(tmp_path / name) for name in ("empty", "folder", "link")]
    refused: dict[str, str] = {}
    assert [policy.name for policy in load_policies(["published", *specs], refused=refused)] == ["published"]
    assert list(refused) == specs


@pytest.mark.parametrize("spec", ["random-bucket", "published", "best-known", "text:attribute", "schedule:1.0-0.5"])
def test_names_that_are_reserved_cover_the_built_in_ones(tmp_path: Path, spec: str) -> None:
    (policy,) = load_policies([spec])
    with pytest.raises(PolicyError, match="like a built-in one"):
        load_policies([sent(tmp_path / "sent", policy.name)])
