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
            ({"scales": [[0.5, 1.5]]}, r"scales.0.1: Input should be less than or equal to 1, got '1.5'"),
            ({"scales": [[-0.1, 0.5]]}, r"scales.0.0: Input should be greater than or equal to 0, got '-0.1'"),
            ({"scales": [[0.5, None]]}, r"scales.0.1: Input should be a valid number, got 'None'"),
            ({"scales": [["0.5", 0.5]]}, r"scales.0.0: Input should be a valid number, got '0.5'"),
            ({"scales": [[True, 0.5]]}, r"scales.0.0: Input should be a valid number, got 'True'"),
            ({"scales": [[10**4000, 0.5]]}, r"scales.0.0: Input should be .*, got '1000"),
            ({"scales": [[float("nan"), 0.5]]}, "NaN is no finite number"),
            ({"scales": [[0.5, float("inf")]]}, "Infinity is no finite number"),
            ({"scales": [0.5, 0.5]}, r"scales.0: Input should be a valid list"),
            ({"scales": [[0.5, 0.5, 0.5]]}, r"scales.0: List should have at most 2 items"),
            ({"scales": [[0.5, 0.5], [0.5]]}, r"scales.1: List should have at least 2 items"),
            ({"scales": [[0.5, 0.5]] * 65}, r"scales: List should have at most 64 items"),
            ({"scales": []}, r"scales: List should have at least 1 item"),
            ({"kind": "pickle"}, "unknown kind of policy 'pickle'; There are: table, histories"),
            ({"kind": ["table"]}, "kind: it must be one of table, histories, network, got"),
            ({"name": ""}, "name must be 1 to 80 plain characters"),
            ({"name": "a\x1b[2J"}, "name must be 1 to 80 plain characters"),
            ({"name": ["a"]}, "name must be 1 to 80 plain characters"),
            ({"training_seed": 0.5}, "training_seed: Input should be a valid integer, got '0.5'"),
            ({"training_seed": -2}, "training_seed: Input should be greater than or equal to -1, got '-2'"),
            ({"training_seed": 2**63}, "training_seed: Input should be less than"),
            ({"card": []}, "card: Input should be a valid dictionary"),
            ({"card": {"scores": {}}}, "card.scores: Extra inputs are not permitted"),
            (
                {"card": {"training": TRAINING | {"episodes": -1}}},
                "card.training.episodes: Input should be greater than or equal to 0",
            ),
            (
                {"card": {"training": TRAINING | {"suite": 3}}},
                "card.training.suite: Input should be a valid string, got '3'",
            ),
            ({"card": {"training": {"suite": "s"}}}, "card.training.episodes: Field required"),
            ({"card": {"training": TRAINING | {"prize": 1}}}, "card.training.prize: Extra inputs are not permitted"),
            ({"card": {"training": TRAINING | {"settings": {"a": "\x1b[2J"}}}}, "a setting must be 1 to 200 printable"),
            ({"card": {"training": TRAINING | {"settings": {"a": [0] * 2000}}}}, "more than 1000 settings"),
            ({"seal": "0" * 64}, "its content isn't what its seal says; after an edit by hand, remove the seal"),
            (
                {"card": {"training": TRAINING | {"settings": 1}}},
                "card.training.settings: Input should be a valid dictionary",
            ),
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
            (b'{"kind": "table"}', "name: Field required"),
            (b'{"name": "x"}', "kind: it must be one of table, histories, network, got 'None'"),
            (b'{"kind": "table", "kind": "histories"}', "an object has a key twice"),
            (b"\x80\x03", "can't decode byte 0x80"),
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
        with pytest.raises(
            PolicyError,
            match=f"policy holds '{name.split('/')[0]}', which no policy has: a policy travels as policy.json",
        ):
            read_policy(folder)
        assert not evidence.exists()
        pickle.loads((folder / name).read_bytes())
        assert evidence.exists(), "it would have run"

    def test_an_archive_under_another_name_is_refused(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "model", "w") as archive:
            archive.writestr("data.pkl", b"")
        with pytest.raises(PolicyError, match="holds 'model', which no policy has"):
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
