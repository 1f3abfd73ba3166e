from pathlib import Path

import numpy as np
import pytest

from steer_env.policies import TablePolicy
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.policies.lists import check_apart, expand, load_policies
from steer_env.policies.names import POLICIES
from steer_env.policies.stored import PolicyError
from tests.steer_env.humans.test_written import Echo


def test_built_in_policies_by_name() -> None:
    specs = ["random-bucket", "random-session", "constant:0.9", "schedule:1.0-0.8-0.6-0.4", "published", "best-known"]
    specs += ["exploring:policy=published,explore=0.5"]
    specs += ["text:blind", "written:blind"]
    policies = load_policies(specs, Echo())
    assert [policy.name for policy in policies] == [
        "random bucket",
        "random scale per session",
        "constant 0.9",
        "schedule 1.0 0.8 0.6 0.4",
        "published",
        "best known",
        "exploring 0.5 published",
        "text blind",
        "text blind by echo",
    ]
    constant, schedule = policies[2:4]
    observation = {"round": np.arange(4), "stayed": np.array([0, 1, 0, 1])}
    assert constant.act(observation).tolist() == [0.9] * 4
    assert schedule.act(observation).tolist() == [1.0, 0.8, 0.6, 0.4]
    assert {spec.partition(":")[0] for spec in specs} == set(POLICIES)


def test_folders_of_training_runs(tmp_path: Path) -> None:
    for seed in (0, 1):
        TablePolicy("learned", np.full((4, 2), 0.5), seed).save(tmp_path / str(seed) / "policy")
    policies = load_policies([str(tmp_path / "0"), str(tmp_path / "1" / "policy")])
    assert [(policy.name, policy.training_seed) for policy in policies] == [("learned", 0), ("learned", 1)]


def test_patterns_stand_for_the_folders_that_hold_policies(tmp_path: Path) -> None:
    for seed in (0, 1):
        TablePolicy("learned", np.full((4, 2), 0.5), seed).save(tmp_path / f"run-{seed}" / "policy")
    TablePolicy("sent", np.full((4, 2), 0.5)).save(tmp_path / "run-x")
    (tmp_path / "run-unfinished").mkdir()
    found = expand(["published", f"{tmp_path}/run-*"])
    assert found == ["published", *(str(tmp_path / name) for name in ("run-0", "run-1", "run-x"))]
    assert [policy.name for policy in load_policies(found)] == ["published", "learned", "learned", "sent"]
    with pytest.raises(ValueError, match=f"no folder with a policy matches {tmp_path}/none"):
        expand([f"{tmp_path}/none-*"])


def test_trainings_of_one_name_differ_in_their_seed_alone(tmp_path: Path) -> None:
    for seed in (0, 1):
        card = PolicyCard(TrainingRecord("tiles-train-v1", 100 + seed, {}, {}))
        TablePolicy("learned", np.full((4, 2), 0.5), seed, card).save(tmp_path / str(seed))
    with pytest.raises(ValueError, match="policies called 'learned' were trained differently: only the seed may"):
        load_policies([str(tmp_path / "0"), str(tmp_path / "1")])


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown policy 'random'; did you mean"):
        load_policies(["random"])
    with pytest.raises(ValueError, match="'high' isn't mixture scales such as"):
        load_policies(["constant:high"])
    with pytest.raises(ValueError, match="holds no policy: train one there first"):
        load_policies([str(tmp_path / "none")])
    with pytest.raises(ValueError, match="policy 'published' is listed twice"):
        load_policies(["published", "published"])
    with pytest.raises(ValueError, match=r"mixture scale 1\.5 is out of range"):
        load_policies(["constant:1.5"])


def test_a_built_in_name_is_the_built_in_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever folders there are; those need ./ before their names."""
    monkeypatch.chdir(tmp_path)
    TablePolicy("mine", np.full((4, 2), 0.5)).save(tmp_path / "published")
    assert load_policies(["published"])[0].name == "published"
    assert load_policies(["./published"])[0].name == "mine"
    assert expand(["publ*"]) == ["./published"]
    TablePolicy("mine", np.full((4, 2), 0.5)).save(tmp_path / "run[1]")
    assert expand(["run[1]"]) == ["run[1]"]


def test_links_in_a_circle_hold_no_policy(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    check_apart(tmp_path / "run", [str(tmp_path / "loop")])
    with pytest.raises(PolicyError, match="loop holds no policy"):
        load_policies([str(tmp_path / "loop")])
