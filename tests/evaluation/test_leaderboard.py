from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steer_env.evaluation.leaderboard import Entry, Leaderboard, leaderboard_report, tracks
from steer_env.evaluation.uncertainty import estimate
from steer_env.traces import traces_to_frame
from tests.steer_env.test_traces import TRACE

ENTRY = Entry(training_episodes=8, seconds=0.1)


def frame_of(values: dict[str, np.ndarray], trained: tuple[str, ...]) -> pd.DataFrame:
    """Improvements by policy, float (S, T) each; the judge sees half of them."""
    return traces_to_frame(
        [
            replace(
                TRACE,
                policy=policy,
                training_seed=seed if policy in trained else -1,
                task_index=task,
                similarities=[0.2, 0.2, 0.2, 0.2, 0.2 + value],
                judged={"pixels": [0.0, 0.0, 0.0, 0.0, value / 2]},
            )
            for policy, table in values.items()
            for seed, row in enumerate(table)
            for task, value in enumerate(row)
        ]
    )


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    means = {"poor": (1, 0.05), "lucky": (1, 0.5), "good": (3, 0.2), "fair": (2, 0.1)}
    return {policy: rng.normal(mean, 0.05, (seeds, 40)) for policy, (seeds, mean) in means.items()}


@pytest.fixture(scope="module")
def frame(values: dict[str, np.ndarray]) -> pd.DataFrame:
    return frame_of(values, trained=("lucky", "good", "fair"))


def test_a_single_lucky_seed_does_not_rank(frame: pd.DataFrame, values: dict[str, np.ndarray]) -> None:
    rows = Leaderboard(frame).rows(dict.fromkeys(values, ENTRY))
    assert [(row.policy, row.rank, row.training_seeds) for row in rows] == [
        ("good", 1, 3),
        ("fair", 2, 2),
        ("poor", 3, 0),
        ("lucky", None, 1),
    ]
    assert rows[-1].improvement.value > rows[0].improvement.value
    assert rows[-1].regret is not None
    assert rows[-1].regret.value < 0, "the unranked one is no reference, however well it did"


def test_a_rows_numbers_are_those_of_its_episodes(frame: pd.DataFrame, values: dict[str, np.ndarray]) -> None:
    rows = {row.policy: row for row in Leaderboard(frame).rows(dict.fromkeys(values, ENTRY))}
    for policy, table in values.items():
        row = rows[policy]
        assert row.improvement.value == pytest.approx(table.mean())
        assert row.error == pytest.approx(estimate(table).error)
        assert row.improved.value == pytest.approx((table > 0).mean())
        assert row.judged["pixels"].value == pytest.approx(table.mean() / 2)
        assert row.episodes == table.size
        assert (row.training_episodes, row.seconds) == (8, 0.1)
        assert row.regret is not None
        assert row.regret.value == pytest.approx(values["good"].mean() - table.mean())
    better = {policy: row.better for policy, row in rows.items()}
    assert better["good"] is not None
    assert better["good"].value == pytest.approx(
        np.mean([x > y for x in values["good"] for y in values["fair"]]), abs=0.01
    )
    assert better["poor"] is better["lucky"] is None


def test_robustness_is_the_noisy_users_improvement(frame: pd.DataFrame, values: dict[str, np.ndarray]) -> None:
    noisy = frame_of({"good": values["good"] - 0.1}, trained=("good",))
    rows = {row.policy: row for row in Leaderboard(frame, noisy).rows(dict.fromkeys(values, ENTRY))}
    assert rows["good"].robust is not None
    assert rows["good"].robust.value == pytest.approx(values["good"].mean() - 0.1)
    assert rows["poor"].robust is None


def test_where_nothing_is_ranked_there_is_no_regret(values: dict[str, np.ndarray]) -> None:
    (row,) = Leaderboard(frame_of({"lucky": values["lucky"]}, trained=("lucky",))).rows({"lucky": ENTRY})
    assert row.rank is row.regret is row.better is None


def test_policies_on_different_tasks_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="were played on different tasks: evaluate them together"):
        Leaderboard(frame.drop(index=0))


class TestTracks:
    """Each mechanism is ranked by itself."""

    @pytest.fixture
    def both(self, values: dict[str, np.ndarray]) -> pd.DataFrame:
        mixture = frame_of({name: values[name] for name in ("good", "poor")}, trained=("good",))
        other = frame_of({name: values[name] + 1 for name in ("poor", "fair")}, trained=("fair",))
        return pd.concat(
            [mixture.assign(images=10, passes=20.0), other.assign(mechanism="bayesian", images=59, passes=118.5)],
            ignore_index=True,
        )

    def test_ranks_regret_and_cost_are_a_tracks_own(self, both: pd.DataFrame) -> None:
        found = [
            row for track in tracks(both, resamples=50) for row in track.rows(dict.fromkeys(both["policy"], ENTRY))
        ]
        assert [(row.track, row.policy, row.rank, row.images, row.passes) for row in found] == [
            ("mixture", "good", 1, 10, 20),
            ("mixture", "poor", 2, 10, 20),
            ("bayesian", "fair", 1, 59, 118.5),
            ("bayesian", "poor", 2, 59, 118.5),
        ]
        alone = Leaderboard(both[both["mechanism"] == "bayesian"], resamples=50).rows(
            dict.fromkeys(both["policy"], ENTRY)
        )
        assert found[2:] == alone

    def test_the_page_says_so(self, both: pd.DataFrame) -> None:
        rows = [row for track in tracks(both, resamples=50) for row in track.rows(dict.fromkeys(both["policy"], ENTRY))]
        section, curves = leaderboard_report(rows, both, "", "cpu", []).sections
        named = ["good, mixture", "poor, mixture", "fair, bayesian", "poor, bayesian"]
        assert curves.figures[0].axes[0].get_legend_handles_labels()[1] == named
        assert section.text.startswith("Each mechanism is a track of its own (mixture, bayesian): rank, regret and")
        assert section.tables[0]["track"].tolist() == ["mixture", "mixture", "bayesian", "bayesian"]
        assert section.tables[0]["images"].tolist() == ["10", "10", "59", "59"]
        assert section.tables[0]["passes"].tolist() == ["20", "20", "118.5", "118.5"]

    def test_one_ranking_of_several_is_refused(self, both: pd.DataFrame) -> None:
        with pytest.raises(ValueError, match="each mechanism is a track of its own: rank mixture, bayesian apart"):
            Leaderboard(both)

    def test_tracks_on_different_tasks_are_refused(self, both: pd.DataFrame) -> None:
        with pytest.raises(ValueError, match="were played on different tasks: evaluate them together"):
            tracks(both[(both["mechanism"] == "mixture") | (both["task_index"] > 0)])


class TestPage:
    def test_it_shows_the_rows_in_their_order(self, frame: pd.DataFrame, values: dict[str, np.ndarray]) -> None:
        entries = {**dict.fromkeys(values, ENTRY), "fair": Entry(None, 0.2)}
        rows = Leaderboard(frame, frame).rows(entries)
        report = leaderboard_report(rows, frame, "softmax-0.13", "cpu with 2 threads", [])
        (table,) = report.sections[0].tables
        assert table["policy"].tolist() == ["good", "fair", "poor", "lucky"]
        assert table["rank"].tolist() == ["1", "2", "3", "one training seed"]
        assert table["training episodes"].tolist() == ["8", "not stated", "8", "8"]
        assert "track" not in table.columns
        assert table["images"].tolist() == ["–"] * 4, "not counted"
        assert table["ms an episode"].tolist() == ["100", "200", "100", "100"]
        first = rows[0].improvement
        assert table["improvement"][0] == f"{first.value:.4f} [{first.low:.4f}, {first.high:.4f}]"
        assert table["softmax-0.13"][0].startswith(f"{first.value:.4f} ")
        assert table["P(better than next)"].tolist()[2:] == ["–", "–"]
        curves = report.sections[1].figures[0].axes[0].get_legend_handles_labels()[1]
        assert curves == table["policy"].tolist()
        assert "cpu with 2 threads" in report.markdown()

    def test_without_a_noisy_user_there_is_no_column(self, frame: pd.DataFrame, values: dict[str, np.ndarray]) -> None:
        rows = Leaderboard(frame).rows(dict.fromkeys(values, ENTRY))
        report = leaderboard_report(rows, frame, "", "cpu", [])
        assert not {"", "softmax-0.13"} & set(report.sections[0].tables[0].columns)
