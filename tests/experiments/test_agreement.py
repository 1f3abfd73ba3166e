"""Rank agreement and correlation against SciPy's, and the intervals against what is known."""

import numpy as np
import pytest
from scipy import stats

from experiments.benchmark import correlation, rank_agreement


def test_agreement_is_kendalls_tau_of_the_means() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 6, 50))
    expected = stats.kendalltau(left.mean(axis=1), right.mean(axis=1)).statistic
    found = rank_agreement(left, right)
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high


def test_what_is_far_apart_is_ranked_alike_in_every_resample() -> None:
    means = np.arange(4)[:, None] * 10
    left, right = np.random.default_rng(0).normal(size=(2, 4, 30)) + means
    found = rank_agreement(left, right)
    assert (found.low, found.value, found.high) == (1, 1, 1)
    opposite = rank_agreement(left, -right)
    assert (opposite.low, opposite.high) == (-1, -1)


def test_correlation_is_pearsons_over_everything() -> None:
    rng = np.random.default_rng(1)
    left = rng.normal(size=(40, 5)) + 100
    right = 0.5 * left + rng.normal(size=(40, 5))
    found = correlation(left, right)
    assert found.value == pytest.approx(stats.pearsonr(left.ravel(), right.ravel()).statistic)
    assert found.low < found.value < found.high


def test_a_tasks_attempts_do_not_count_as_independent() -> None:
    """Five copies of each task say no more than one."""
    rng = np.random.default_rng(2)
    once = rng.normal(size=(2, 60, 1))
    copied = [np.repeat(values, 5, axis=1) for values in once]
    single, several = correlation(*once), correlation(*copied)
    assert several.low == pytest.approx(single.low)
    assert several.high == pytest.approx(single.high)


def test_the_interval_holds_the_true_correlation() -> None:
    held = 0
    for seed in range(100):
        x, noise = np.random.default_rng(seed).normal(size=(2, 100, 1))
        found = correlation(x, 0.75 * x + noise)
        held += found.low <= 0.6 <= found.high
    assert held >= 88


def test_errors() -> None:
    with pytest.raises(ValueError, match="a ranking needs at least 2 things, got 1"):
        rank_agreement(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="same everywhere"):
        correlation(np.ones((3, 2)), np.random.default_rng(0).normal(size=(3, 2)))
