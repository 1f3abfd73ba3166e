from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from steer_env.evaluation.uncertainty import (
    Bootstrap,
    Estimate,
    Interval,
    clustered_error,
    estimate,
    percentiles,
    ratio,
    row_error,
)


def test_one_training_seed_is_students_t_over_tasks() -> None:
    values = np.random.default_rng(0).normal(0.02, 0.1, 200)
    found, reference = estimate(values), stats.ttest_1samp(values, 0)
    assert found.error == pytest.approx(stats.sem(values))
    assert found.p_value == pytest.approx(reference.pvalue)
    interval = found.interval()
    assert (interval.low, interval.high) == pytest.approx(tuple(reference.confidence_interval()))
    assert found.episodes == 200


@pytest.mark.parametrize(("by_seed", "by_task"), [(0.3, 1.0), (1.0, 0.1), (0.0, 0.0)])
@pytest.mark.parametrize(("seeds", "tasks"), [(8, 40), (3, 150)])
def test_students_intervals_cover_the_truth_when_seeds_and_tasks_both_vary(
    by_seed: float, by_task: float, seeds: int, tasks: int
) -> None:
    """Two random effects and noise: the 95 % interval of the grand mean covers it in about 95 % of 600 studies."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(600):
        values = by_seed * rng.standard_normal((seeds, 1)) + by_task * rng.standard_normal((1, tasks))
        interval = estimate(values + 0.5 * rng.standard_normal((seeds, tasks))).interval()
        covered += interval.low <= 0 <= interval.high
    assert 0.92 <= covered / 600 <= 0.995


def test_episodes_of_one_task_do_not_count_as_independent() -> None:
    values = np.repeat(np.random.default_rng(3).normal(size=(1, 30)), 20, axis=0)
    assert estimate(values).error == pytest.approx(estimate(values[:1]).error, rel=1e-6)


def test_the_error_of_a_share_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    whole = rng.gamma(4, 0.05, 300)
    part = np.clip(0.6 * whole + rng.normal(0, 0.05, 300), 0, None)
    found = ratio(part, whole)
    reference = stats.bootstrap(
        (part, whole), lambda x, y, axis: x.mean(axis) / y.mean(axis), paired=True, rng=rng, n_resamples=4000
    )
    assert found.value == pytest.approx(part.sum() / whole.sum())
    assert found.error == pytest.approx(reference.standard_error, rel=0.05)


def residuals(values: np.ndarray) -> np.ndarray:
    return values - values.mean()


def test_rows_that_are_their_own_units_give_scipys_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=50)
    alone = pd.DataFrame({"unit": range(50)})
    assert row_error(values) == pytest.approx(stats.sem(values))
    assert clustered_error(residuals(values), alone) == pytest.approx(stats.sem(values))


def test_equal_clusters_give_the_error_of_their_means() -> None:
    values = np.random.default_rng(1).normal(size=(12, 5))
    people = pd.DataFrame({"person": np.repeat(range(12), 5)})
    assert clustered_error(residuals(values.ravel()), people) == pytest.approx(stats.sem(values.mean(axis=1)))


def test_repeating_a_row_adds_no_information() -> None:
    values = np.random.default_rng(2).normal(size=30)
    people = pd.DataFrame({"person": np.repeat(range(30), 4)})
    assert clustered_error(residuals(np.repeat(values, 4)), people) == pytest.approx(stats.sem(values))


def test_crossed_units_agree_with_the_packages_own_estimate() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(6, 1)) + rng.normal(size=(1, 40)) + rng.normal(size=(6, 40))
    units = pd.DataFrame({"annotator": np.repeat(range(6), 40), "person": np.tile(range(40), 6)})
    assert clustered_error(residuals(values.ravel()), units) == pytest.approx(estimate(values).error)


def test_a_unit_inside_another_changes_nothing() -> None:
    values = np.random.default_rng(4).normal(size=60)
    units = pd.DataFrame({"person": np.repeat(range(15), 4), "goal": np.repeat(range(30), 2)})
    alone = clustered_error(residuals(values), units[["person"]])
    assert clustered_error(residuals(values), units) == pytest.approx(
        max(alone, clustered_error(residuals(values), units[["goal"]]))
    )


def test_one_row_or_one_unit_has_no_error() -> None:
    assert np.isnan(row_error(np.ones(1)))
    assert np.isnan(clustered_error(np.zeros(3), pd.DataFrame({"person": ["a"] * 3})))


def test_numbers_print_with_their_uncertainty() -> None:
    found, interval = Estimate(0.94871, 0.00712, 900, 899), Interval(-0.01234, -0.02, 0.5)
    assert (str(found), f"{found:.1%}", f"{found:+.2f}") == ("0.9487 (0.0071)", "94.9% (0.7%)", "+0.95 (0.01)")
    assert (str(interval), f"{interval:+.2f}") == ("-0.0123 [-0.0200, 0.5000]", "-0.01 [-0.02, +0.50]")
    assert interval.brackets(".1%") == "[-2.0%, 50.0%]"


def test_resamples_without_a_value_are_left_out_of_an_interval() -> None:
    assert percentiles(0.5, np.array([0.0, np.nan, 1.0]), level=0.5) == Interval(0.5, 0.25, 0.75)
    assert np.isnan(percentiles(0.5, np.array([np.nan])).low)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.ones((2, 1)), "needs at least 2 tasks, got 1"), (np.array([1.0, np.nan]), "must be played on every task")],
)
def test_what_has_no_error_is_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(values)


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
