"""Several mechanisms and users side by side, as a user of the package runs them, at the smallest size."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments import evaluate, mechanisms
from steer_env.generators import load_generator
from steer_env.traces import read_traces

SMALL = ["tasks=3", "tasks_per_batch=2", "env.rounds=2"]
MECHANISMS = 'mechanisms=["mixture","bayesian:pool=4","bayesian:pool=4,metric=pixel-correlation"]'


def test_every_pair_is_played_and_pools_are_made_once(
    tmp_path: Path, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, made = load_generator("tiles"), []
    generate = type(generator).generate
    monkeypatch.setattr(type(generator), "generate", lambda self, z, c: made.append(len(z)) or generate(self, z, c))
    options = [f"folder={tmp_path / 'all'}", MECHANISMS, "users=[greedy,softmax]", *SMALL]
    command(mechanisms.main, *options)
    # Goal and first image for each of the six pairs, at most two proposals a round, and one pool and its first image.
    assert 6 * 2 * 3 + 3 * 5 < sum(made) <= 6 * (2 + 2 * 2) * 3 + 3 * 5
    report = (tmp_path / "all" / "report.md").read_text()
    assert "User: greedy" in report
    assert "User: softmax" in report
    rows = json.loads((tmp_path / "all" / "mechanisms.json").read_text())["rows"]
    assert [(row["user"], row["mechanism"]) for row in rows][::3] == [("greedy", "mixture"), ("softmax", "mixture")]
    traces = read_traces(tmp_path / "all" / "traces" / "greedy" / "bayesian-pool-4")
    assert rows[1]["gain"] == pytest.approx(np.mean([trace.improvement for trace in traces]))
    assert (rows[1]["images"], rows[1]["passes"], rows[1]["episodes"]) == (10, 20, 3)
    assert [row["relative"] is None for row in rows] == [True, False, False] * 2
    assert {path.name for path in (tmp_path / "all" / "figures").iterdir()} == {
        "gain-against-cost-1.png",
        "gain-against-cost-2.png",
    }

    alone = ["mechanism=bayesian", "mechanism.pool=4", "strips=0"]
    policy = ["policies=[schedule:1.0-1.0-0.8-0.6]", "baseline=schedule 1.0 1.0 0.8 0.6"]
    command(evaluate.main, f"folder={tmp_path / 'alone'}", *policy, *alone, *SMALL)
    expected = read_traces(tmp_path / "alone" / "traces")
    found = read_traces(tmp_path / "all" / "traces" / "greedy" / "bayesian-pool-4")
    for one, other in zip(found, expected, strict=True):
        assert one.choices == other.choices
        np.testing.assert_allclose(one.similarities, other.similarities, atol=5e-5)

    kept = tmp_path / "all" / "traces" / "greedy" / "mixture" / "00000000.parquet"
    before = kept.stat().st_mtime_ns
    for path in (tmp_path / "all" / "result.json", kept.with_name("00000002.parquet")):
        path.unlink()
    command(mechanisms.main, *options)
    assert kept.stat().st_mtime_ns == before
    assert (tmp_path / "all" / "report.md").read_text() == report


def test_the_frontier_is_what_nothing_cheaper_beats() -> None:
    rows = [{"passes": p, "gain": g, "error": 0.1, "mechanism": f"{p}"} for p, g in ((9, 3), (2, 1), (4, 0.5), (9, 2))]
    assert [row["passes"] for row in mechanisms.undominated(rows)] == [2, 9]
    assert mechanisms.undominated(rows)[1]["gain"] == 3
    (axes,) = mechanisms.frontier(rows, "user: greedy").axes
    assert len(axes.get_legend_handles_labels()[1]) == 4
    assert axes.lines[-1].get_xdata().tolist() == [2, 9]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("policy=text:blind", "policy must choose mixture scales, such as a schedule, not text:blind"),
        ("mechanisms=[]", "mechanisms must have at least 1 entries"),
        ("users=[greedy,greedy]", "the entries of users must differ"),
        ("mechanisms=[mixtur]", "unknown mechanism 'mixtur'; did you mean 'mixture'"),
        ("users=[greedi]", "unknown human 'greedi'; did you mean 'greedy'"),
        ('mechanisms=["bayesian:96"]', "bayesian:96: '96' is no option with a value, such as pool=96"),
        ('mechanisms=["bayesian:pool=1"]', "pool must be from 2 to 8192, got 1"),
    ],
)
def test_bad_options_before_any_work(refuses: Callable[..., None], option: str, message: str) -> None:
    refuses(mechanisms.main, message, *SMALL, option)
