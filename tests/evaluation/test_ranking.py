from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from steer_env.evaluation.ranking import Bootstrap, Interval


def test_with_one_training_seed_it_is_scipys_bootstrap_over_tasks() -> None:
    values = np.random.default_rng(0).gamma(2.0, 0.05, 150)
    found = Bootstrap(150, resamples=20_000).mean(values[None])
    reference = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert found.value == pytest.approx(values.mean())
    spread = found.high - found.low
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.03 * spread)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.03 * spread)


def test_paired_differences_resample_their_tasks_together() -> None:
    """What tasks add to both policies doesn't widen the interval of their difference."""
    rng = np.random.default_rng(2)
    shared, gap = rng.normal(0, 10, 200), rng.normal(0.3, 0.1, 200)
    found = Bootstrap(200, resamples=20_000).difference((shared + gap)[None], shared[None])
    reference = stats.bootstrap((gap,), np.mean, method="percentile", n_resamples=20_000, rng=rng)
    assert found.value == pytest.approx(gap.mean())
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.002)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.002)


@pytest.mark.parametrize(("seeds", "tasks"), [(2, 30), (5, 30), (12, 8)])
def test_resampled_means_vary_as_the_closed_form_says(seeds: int, tasks: int) -> None:
    """A bilinear form of two independent multinomials, whose covariances are known."""
    values = np.random.default_rng(3).normal(size=(seeds, tasks))
    by_seed, by_task = (_covariance(n) for n in values.shape)
    row, column = np.full(seeds, 1 / seeds), np.full(tasks, 1 / tasks)
    expected = (
        row @ values @ by_task @ values.T @ row
        + column @ values.T @ by_seed @ values @ column
        + np.trace(by_seed @ values @ by_task @ values.T)
    )
    found = Bootstrap(tasks, resamples=40_000, level=0.6827).mean(values)
    assert (found.high - found.low) / 2 == pytest.approx(expected**0.5, rel=0.15 if seeds == 2 else 0.04)


def _covariance(n: int) -> np.ndarray:
    """Of the shares of n things when n − 1 are drawn."""
    return (np.eye(n) / n - np.full((n, n), 1 / n**2)) / (n - 1)


def test_few_training_seeds_vary_as_their_mean_does() -> None:
    """Where nothing but the training seed matters, the resampled means have the standard error of a mean of few."""
    effects = np.random.default_rng(4).normal(size=6)
    found = Bootstrap(50, resamples=40_000, level=0.6827).mean(np.repeat(effects[:, None], 50, axis=1))
    assert (found.high - found.low) / 2 == pytest.approx(stats.sem(effects), rel=0.06)


@pytest.mark.parametrize(("by_seed", "by_task", "noise"), [(1.0, 0.3, 0.5), (0.3, 1.0, 0.5), (0.0, 0.0, 1.0)])
def test_intervals_cover_the_truth(by_seed: float, by_task: float, noise: float) -> None:
    """Two random effects and noise: the 95 % interval of a mean over 10 seeds covers it in most of 300 studies."""
    rng, seeds, tasks = np.random.default_rng(5), 10, 60
    covered = 0
    for study in range(300):
        values = by_seed * rng.standard_normal((seeds, 1)) + by_task * rng.standard_normal((1, tasks))
        found = Bootstrap(tasks, resamples=400, seed=study).mean(values + noise * rng.standard_normal((seeds, tasks)))
        covered += found.low <= 0 <= found.high
    assert 0.89 <= covered / 300 <= 1.0


@pytest.mark.parametrize(("left", "right"), [(1, 1), (5, 3), (4, 7)])
def test_the_probability_of_improvement_is_mann_whitneys(left: int, right: int) -> None:
    """As rliable has it: U over the number of pairs of runs, for each task, averaged."""
    rng = np.random.default_rng(6)
    x, y = (np.round(rng.normal(size=(n, 25)), 1) for n in (left, right))
    expected = np.mean([stats.mannwhitneyu(x[:, t], y[:, t]).statistic / (left * right) for t in range(25)])
    found = Bootstrap(25).improvement(x, y)
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high


def test_episodes_that_differ_by_rounding_alone_are_ties() -> None:
    values = np.random.default_rng(7).normal(size=(1, 40))
    for gap, expected in ((5e-5, 0.5), (-5e-5, 0.5), (-1e-3, 1.0), (1e-3, 0.0)):
        found = Bootstrap(40).improvement(values, values + gap)
        assert [found.value, found.low, found.high] == pytest.approx([expected] * 3)


@pytest.mark.parametrize("measure", [lambda b, x: b.mean(x), lambda b, x: b.improvement(x, x[:1])])
def test_the_same_seed_gives_the_same_interval(measure: Callable[[Bootstrap, np.ndarray], Interval]) -> None:
    values = np.random.default_rng(8).normal(size=(3, 20))
    first, again, other = (measure(Bootstrap(20, seed=seed), values) for seed in (1, 1, 2))
    assert first == again
    assert first.low != other.low
