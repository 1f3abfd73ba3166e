import json
import os
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from steer_env.policies import (
    PolicyError,
    RandomBucketPolicy,
    RandomScalePolicy,
    TablePolicy,
    published_policy,
    read_policy,
)
from steer_env.policies.cards import PolicyCard, TrainingRecord
from steer_env.testing import check_policy

STUDY = os.environ.get("STEER_ENV_STUDY")
"""Where the reader put the data that the paper's authors released."""


def schedule() -> TablePolicy:
    return TablePolicy.schedule("schedule", [1.0, 0.8, 0.6, 0.4])


@pytest.mark.parametrize("make", [schedule, published_policy, RandomBucketPolicy, RandomScalePolicy])
def test_conformance(make: Any) -> None:
    check_policy(make)


@pytest.mark.skipif(STUDY is None, reason="set STEER_ENV_STUDY to the folder of the released study")
def test_the_published_policy_is_the_argmax_of_the_authors_value_table() -> None:
    values = pd.read_csv(Path(str(STUDY)) / "value_table.csv")
    best = values.loc[values.groupby(["round", "stayed"])["mean_reward"].idxmax()]
    scales = published_policy().scales
    for row in best.itertuples():
        assert scales[row.round - 1, row.stayed] == pytest.approx(row.mixture_scale)


def test_random_buckets_are_uniform_and_redrawn_each_round() -> None:
    policy = RandomBucketPolicy()
    policy.start(range(4000))
    observation = {"round": np.zeros(4000, int), "stayed": np.zeros(4000, int)}
    first, second = policy.act(observation), policy.act(observation)
    counts = np.bincount(np.round(first * 10).astype(int), minlength=11)[1:]
    assert stats.chisquare(counts).pvalue > 1e-4
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08


def test_a_random_session_keeps_one_scale_from_a_uniform_distribution() -> None:
    policy = RandomScalePolicy()
    policy.start(range(4000))
    observation = {"round": np.zeros(4000, int), "stayed": np.zeros(4000, int)}
    scales = policy.act(observation)
    assert np.array_equal(scales, policy.act(observation))
    assert stats.kstest(scales, "uniform").pvalue > 1e-4


def test_a_table_is_looked_up_by_round_and_stayed() -> None:
    policy = published_policy()
    observation = {"round": np.array([0, 1, 1, 2, 3, 9]), "stayed": np.array([0, 0, 1, 1, 0, 1])}
    assert policy.act(observation).tolist() == [0.8, 0.8, 0.6, 1.0, 0.3, 0.4]


def test_saved_policies_load_again_as_plain_json(tmp_path: Path) -> None:
    policy = TablePolicy("mine", np.full((4, 2), 0.25), training_seed=7)
    policy.save(tmp_path / "p")
    again = read_policy(tmp_path / "p")
    assert (again.name, again.training_seed) == ("mine", 7)
    assert np.array_equal(again.scales, policy.scales)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["policy.json"]


def test_a_card_travels_with_its_policy(tmp_path: Path) -> None:
    training = TrainingRecord("tiles-train-v1", 60_000, {"cells": "round"}, {"numpy": "2"})
    TablePolicy("mine", np.full((4, 2), 0.25), 7, PolicyCard(training)).save(tmp_path)
    assert read_policy(tmp_path).card == PolicyCard(training)


def test_scores_that_a_card_claims_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(RECORD | {"card": {"claim": {"improvement": 99}}}))
    assert "claim" not in read_policy(tmp_path).card.record()


def test_a_policy_file_without_a_card_is_one(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(RECORD))
    assert read_policy(tmp_path).card == PolicyCard()


class Bomb:
    """Unpickling it leaves a trace in the folder it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


RECORD: dict[str, Any] = {"kind": "table", "name": "x", "training_seed": -1, "scales": [[0.5, 0.5]]}
TRAINING: dict[str, Any] = asdict(TrainingRecord("s", 2, {}, {}))


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"scales": [[0.5, 1.5]]}, r"mixture scale 1\.5 is out of range: allowed is \[0, 1\]"),
            ({"scales": [[-0.1, 0.5]]}, r"mixture scale -0\.1 is out of range"),
            ({"scales": [[0.5, None]]}, "a mixture scale must be a finite number, got None"),
            ({"scales": [["0.5", 0.5]]}, "a mixture scale must be a finite number, got 0.5"),
            ({"scales": [[True, 0.5]]}, "a mixture scale must be a finite number, got True"),
            ({"scales": [[10**4000, 0.5]]}, "a mixture scale must be a finite number, got 1000"),
            ({"scales": [[float("nan"), 0.5]]}, "NaN is no finite number"),
            ({"scales": [[0.5, float("inf")]]}, "Infinity is no finite number"),
            ({"scales": [0.5, 0.5]}, "scales must be a list of lists of numbers, one a round"),
            ({"scales": [[0.5, 0.5, 0.5]]}, r"must have shape \(rounds, 2\)"),
            ({"scales": [[0.5, 0.5], [0.5]]}, r"must have shape \(rounds, 2\)"),
            ({"scales": []}, r"must have shape \(rounds, 2\)"),
            ({"kind": "pickle"}, "unknown kind of policy 'pickle'; there are: table, histories"),
            ({"kind": ["table"]}, "unknown kind of policy"),
            ({"name": ""}, "name must be 1 to 80 plain characters"),
            ({"name": "a\x1b[2J"}, "name must be 1 to 80 plain characters"),
            ({"name": ["a"]}, "name must be 1 to 80 plain characters"),
            ({"training_seed": 0.5}, "training_seed must be a whole number of at least -1, got 0.5"),
            ({"training_seed": -2}, "training_seed must be a whole number of at least -1, got -2"),
            ({"training_seed": 2**63}, "training_seed must be a whole number"),
            ({"card": []}, "card must be a JSON object"),
            ({"card": {"scores": {}}}, "unknown part of a card 'scores'; there is: training"),
            ({"card": {"training": TRAINING | {"episodes": -1}}}, "episodes must be a whole number of at least 0"),
            ({"card": {"training": TRAINING | {"suite": 3}}}, "suite must be 1 to 200 printable characters"),
            ({"card": {"training": {"suite": "s"}}}, "missing 3 required positional arguments: 'episodes'"),
            ({"card": {"training": TRAINING | {"prize": 1}}}, "unexpected keyword argument 'prize'"),
            ({"card": {"training": TRAINING | {"settings": 1}}}, "settings must be a JSON object"),
        ],
    )
    def test_impossible_values(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        (tmp_path / "policy.json").write_text(json.dumps(RECORD | change))
        with pytest.raises(PolicyError, match=message):
            read_policy(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "Expecting value"),
            (b"[]", "it holds list, not a JSON object"),
            (b'{"kind": "table"}', "it lacks 'name'"),
            (b'{"name": "x"}', "it lacks 'kind'"),
            (b"\x80\x03", "of a format that can run code"),
            (b"\xff\xfe", "can't decode byte 0xff"),
            (b"[" * 100_000, "nested too deeply"),
            (b'{"kind": ' + b"[" * 13 + b"]" * 13 + b"}", "nested too deeply"),
            (b'{"scales": ' + b"9" * 5000 + b"}", "digits"),
            (b" " * 2**20 + b"{}", "larger than 1048576 bytes"),
        ],
    )
    def test_something_else(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "policy.json").write_bytes(content)
        with pytest.raises(PolicyError, match=message):
            read_policy(tmp_path)

    @pytest.mark.parametrize("name", ["policy.pkl", "weights/policy.PT", "model.bin", "innocent.txt", "data.npy"])
    @pytest.mark.parametrize("beside", [True, False])
    def test_a_pickle_is_refused_and_never_loaded(self, tmp_path: Path, name: str, beside: bool) -> None:
        folder, evidence = tmp_path / "policy", tmp_path / "ran"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(pickle.dumps(Bomb(evidence)))
        if beside:
            schedule().save(folder)
        with pytest.raises(PolicyError, match=f"policy holds {name}, of a format that can run code .* policy.json"):
            read_policy(folder)
        assert not evidence.exists()
        pickle.loads((folder / name).read_bytes())
        assert evidence.exists(), "it would have run"

    def test_an_archive_under_another_name_is_refused(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "model", "w") as archive:
            archive.writestr("data.pkl", b"")
        with pytest.raises(PolicyError, match="holds model, of a format"):
            read_policy(tmp_path)

    def test_what_else_lies_in_the_folder_may_stay(self, tmp_path: Path) -> None:
        schedule().save(tmp_path)
        (tmp_path / "README.md").write_text("# A schedule")
        assert read_policy(tmp_path).name == "schedule"

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(PolicyError, match=r"holds no policy\.json"):
            read_policy(tmp_path)
        with pytest.raises(PolicyError, match=r"none holds no policy\.json"):
            read_policy(tmp_path / "none")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_pipe_is_no_policy_and_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "policy.json")
        with pytest.raises(PolicyError, match=r"holds no policy\.json"):
            read_policy(tmp_path)
