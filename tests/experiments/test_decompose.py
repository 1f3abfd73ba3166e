"""The decomposition between generators: predictors whose explained share is known, terms known in closed form."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import decompose as room
from experiments import evaluate
from experiments.decompose import Episodes, compare_predictors, decompose

SHORT = ("env.rounds=2", "env.proposals=1")
CENTRES = np.array([[0.0, 0.2, -0.1], [0.5, -0.3, 0.1]])
OFFSETS = (0.1, 0.15)
SLOPES = np.array([[0.1, 0.0, -0.05], [0.05, 0.1, -0.05]])
MECHANISM = OFFSETS[1] - OFFSETS[0] + (SLOPES[1] - SLOPES[0]) @ CENTRES[1]
PRODUCIBLE = SLOPES[0] @ (CENTRES[1] - CENTRES[0])


def test_generators_of_different_steps_are_decomposed(tmp_path: Path, command: Callable[..., None]) -> None:
    for steps in (1, 2):
        options = ("tasks=12", "strips=0", *SHORT, f"generator.steps={steps}")
        command(evaluate.main, f"folder={tmp_path / str(steps)}", *options, "policies=[random-bucket]")
    one, two = tmp_path / "1", tmp_path / "2"
    command(room.main, f"folder={tmp_path / 'terms'}", f"evaluations=[{two},{one}]", "components=3")
    report = (tmp_path / "terms" / "report.md").read_text()
    assert "| + goal image |" in report
    assert re.search(r"\| tiles-\w+ steps=1 +\|", report)
    assert len(list((tmp_path / "terms" / "figures").glob("*.png"))) == 1
    again = shutil.copytree(one, tmp_path / "again")
    for same, message in ((one, "the entries of evaluations must differ"), (again, "two generators, each once")):
        with pytest.raises(ValueError, match=message):
            command(room.main, f"folder={tmp_path / 'no'}", f"evaluations=[{one},{same}]")
    other = ("tasks=12", "policies=[published]", "baseline=published", *SHORT)
    command(evaluate.main, f"folder={tmp_path / 'other'}", *other)
    with pytest.raises(ValueError, match=r"with different policy .* published, random bucket"):
        command(room.main, f"folder={tmp_path / 'no'}", f"evaluations=[{one},{tmp_path / 'other'}]")
    assert not (tmp_path / "no").exists()


def episodes(model: int, seed: int, count: int = 150) -> Episodes:
    """Goals from a normal distribution, linear rewards with noise."""
    rng = np.random.default_rng([model, seed])
    features = CENTRES[model] + rng.standard_normal((count, 3))
    rewards = OFFSETS[model] + features @ SLOPES[model] + 0.1 * rng.standard_normal(count)
    return Episodes(features, rewards, np.arange(count))


def test_intervals_cover_the_known_terms() -> None:
    found = [decompose(episodes(0, seed), episodes(1, seed), seed=seed) for seed in range(100)]
    covered = {
        "mechanism": sum(one.mechanism.low <= MECHANISM <= one.mechanism.high for one in found),
        "producible": sum(one.producible.low <= PRODUCIBLE <= one.producible.high for one in found),
    }
    assert min(covered.values()) >= 90, covered


def test_terms_sum_to_the_direct_difference() -> None:
    found = decompose(episodes(0, 0), episodes(1, 0))
    assert found.total.value == pytest.approx(found.direct, abs=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((150, 2))}, "width 3 and 2"),
        ({"rewards": np.full(150, np.nan)}, "finite"),
        ({"rewards": np.zeros(3)}, "3 rewards"),
        ({"tasks": np.zeros(150, dtype=int)}, "1 tasks are too few"),
    ],
)
def test_bad_episodes_are_named(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompose(episodes(0, 0), replace(episodes(1, 0), **change))


def test_each_input_explains_its_share() -> None:
    rng = np.random.default_rng(0)
    model, prompt, noise = rng.standard_normal((3, 4000))
    fits = compare_predictors(
        model + 2 * prompt + noise,
        np.arange(4000),
        {"model": model[:, None], "prompt": prompt[:, None]},
        penalties=[1e-6, 1.0],
    )
    assert fits["mean"].value == pytest.approx(0, abs=0.01)
    assert fits["model"].value == pytest.approx(1 / 6, abs=0.04)
    assert fits["prompt"].value == pytest.approx(5 / 6, abs=0.04)


def test_a_task_known_from_training_does_not_help() -> None:
    """Rewards that depend on the task alone can't be predicted for tasks never seen."""
    rng = np.random.default_rng(1)
    tasks = np.repeat(np.arange(100), 4)
    rewards = rng.standard_normal(100)[tasks]
    assert compare_predictors(rewards, tasks, {"task": np.eye(100)[tasks]})["task"].value < 0.05


@pytest.mark.parametrize(
    ("rewards", "count", "message"),
    [(np.zeros(40), 40, "nothing to predict"), (np.arange(4.0), 4, "too few"), (np.arange(40.0), 39, "40 rows")],
)
def test_bad_inputs_of_predictors_are_named(rewards: np.ndarray, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_predictors(rewards, np.arange(len(rewards)), {"x": np.zeros((count, 1))})
