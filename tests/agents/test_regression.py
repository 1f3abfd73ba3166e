import numpy as np
import pytest
from scipy import stats

from agents.regression import NOISE_SHAPE, Regression

COVARIANCE = np.array([[1.0, 0.4], [0.4, 0.5]])


def data(n: int, noise: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 2))
    return features, features @ np.array([0.8, -0.5]) + noise * rng.standard_normal(n)


def fitted(n: int, parts: int = 1) -> Regression:
    regression = Regression(2, COVARIANCE, 0.2)
    features, targets = (values[:n] for values in data(max(n, 100)))
    for where in np.array_split(np.arange(n), parts):
        regression.add(1, features[where], targets[where])
    return regression


def marginal(features: np.ndarray, targets: np.ndarray) -> float:
    """Log density of targets before any data: multivariate t, since weights and noise are integrated out."""
    shape = np.eye(len(targets)) + features @ COVARIANCE @ features.T
    return float(stats.multivariate_t(shape=0.2**2 * shape, df=2 * NOISE_SHAPE).logpdf(targets))


def test_predictions_are_the_ratio_of_marginal_densities() -> None:
    """Another way to the posterior: p(new | old) = p(old, new) / p(old), both known in closed form."""
    features, targets = (values[:6] for values in data(100))
    posterior = fitted(5).posterior()
    covariance = posterior.roots[1] @ posterior.roots[1].T
    centre, new = features[5] @ posterior.means[1], features[5]
    scale = posterior.noise[1] * (1 + new @ covariance @ new) ** 0.5
    predicted = stats.t(2 * posterior.shapes[1], centre, scale).logpdf(targets[5])
    assert predicted == pytest.approx(marginal(features, targets) - marginal(features[:5], targets[:5]), rel=1e-9)


def test_observations_may_come_in_any_parts() -> None:
    whole, parts = fitted(50).posterior(), fitted(50, parts=7).posterior()
    for name in ("means", "roots", "shapes", "rates"):
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), rtol=1e-9)


def test_much_data_gives_the_weights_and_the_noise() -> None:
    posterior = fitted(20_000).posterior()
    np.testing.assert_allclose(posterior.means[1], [0.8, -0.5], atol=0.01)
    assert posterior.noise[1] == pytest.approx(0.3, rel=0.02)


def test_a_group_learns_nothing_from_another() -> None:
    untouched = fitted(50).posterior()
    assert untouched.means[0].tolist() == [0, 0]
    np.testing.assert_allclose(untouched.roots[0] @ untouched.roots[0].T, COVARIANCE)


def test_samples_are_students_t() -> None:
    posterior = fitted(4).posterior()
    draws = posterior.sample(20_000, np.random.default_rng(1))
    assert draws.shape == (20_000, 2, 2)
    for place in range(2):
        spread = posterior.noise[1] * np.linalg.norm(posterior.roots[1][place])
        expected = stats.t(2 * posterior.shapes[1], posterior.means[1][place], spread)
        assert stats.kstest(draws[:, 1, place], expected.cdf).pvalue > 1e-4


def test_a_state_is_everything() -> None:
    one, other = fitted(9), Regression(2, COVARIANCE, 0.2)
    other.restore(one.state())
    assert np.array_equal(one.posterior().roots, other.posterior().roots)
    with pytest.raises(ValueError, match="this agent's"):
        Regression(3, COVARIANCE, 0.2).restore(one.state())
