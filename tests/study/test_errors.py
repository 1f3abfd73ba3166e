import numpy as np
import pandas as pd
import pytest
from scipy import stats

from steer_env.evaluation.statistics import estimate
from steer_env.study.errors import clustered_error, row_error


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
