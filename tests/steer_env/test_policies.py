import json
import os
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
    load_policy,
    published_policy,
)
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
    again = load_policy(tmp_path / "p")
    assert (again.name, again.training_seed) == ("mine", 7)
    assert np.array_equal(again.scales, policy.scales)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["policy.json"]


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"scales": [[0.5, 1.5]]}, "mixture scale 1.5 is out of range"),
            ({"scales": [[0.5, None]]}, "is no policy"),
            ({"scales": [0.5, 0.5]}, r"must have shape \(rounds, 2\), got \(2,\)"),
            ({"scales": []}, "must have shape"),
            ({"kind": "pickle"}, "unknown kind of policy 'pickle'"),
        ],
    )
    def test_impossible_values(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        record = {"kind": "table", "name": "x", "training_seed": -1, "scales": [[0.5, 0.5]]} | change
        (tmp_path / "policy.json").write_text(json.dumps(record))
        with pytest.raises(PolicyError, match=message):
            load_policy(tmp_path)

    @pytest.mark.parametrize("text", ["", "[]", '{"kind": "table"}', "\x80\x04"])
    def test_something_else(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "policy.json").write_text(text)
        with pytest.raises(PolicyError, match="is no policy"):
            load_policy(tmp_path)

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(PolicyError, match=r"holds no policy.json"):
            load_policy(tmp_path)
