import numpy as np
import pytest
import torch
from scipy import stats

from steer_env.proposals import BUCKETS, bucket_scales, check_scales, draw_latents, mix


def test_buckets_are_equally_spaced_from_a_tenth_to_one() -> None:
    np.testing.assert_allclose(bucket_scales(np.arange(BUCKETS)), np.linspace(0.1, 1.0, 10))


@pytest.mark.parametrize("bucket", [-1, 10, 99])
def test_a_bucket_out_of_range_is_named(bucket: int) -> None:
    with pytest.raises(ValueError, match=f"bucket {bucket} is out of range: allowed are 0 to 9"):
        bucket_scales(np.array([0, bucket]))


def test_fractional_buckets_are_refused() -> None:
    with pytest.raises(ValueError, match="integers"):
        bucket_scales(np.array([0.5]))


@pytest.mark.parametrize("scale", [-0.01, 1.01, np.nan, np.inf])
def test_a_scale_out_of_range_is_named(scale: float) -> None:
    with pytest.raises(ValueError, match=r"allowed is \[0, 1\]"):
        check_scales(np.array([0.5, scale]))


@pytest.mark.parametrize("scale", bucket_scales(np.arange(BUCKETS)))
def test_eq_8_preserves_unit_variance(scale: float) -> None:
    """A chi-square test of the variance and a z-test of the mean, at a level that fails once in 10,000 codes."""
    rng = torch.Generator().manual_seed(round(scale * 10))
    n = 200_000
    z, noise = torch.randn(n, 1, generator=rng), torch.randn(n, 1, 1, generator=rng)
    mixed = mix(z, noise, torch.full((n,), scale)).double().flatten()
    statistic = float(mixed.square().sum())
    assert stats.chi2.ppf(5e-5, n) < statistic < stats.chi2.ppf(1 - 5e-5, n)
    assert abs(float(mixed.mean())) * n**0.5 < stats.norm.ppf(1 - 5e-5)


@pytest.mark.parametrize("scale", bucket_scales(np.arange(BUCKETS)))
def test_eq_8_correlates_with_the_current_latent_as_its_closed_form_says(scale: float) -> None:
    rng = torch.Generator().manual_seed(1)
    n = 100_000
    z, noise = torch.randn(n, 1, generator=rng), torch.randn(n, 1, 1, generator=rng)
    found = float(torch.corrcoef(torch.stack([z.flatten(), mix(z, noise, torch.full((n,), scale)).flatten()]))[0, 1])
    assert found == pytest.approx((1 - scale) / np.hypot(scale, 1 - scale), abs=0.015)


def test_scale_zero_returns_the_latent_and_scale_one_forgets_it() -> None:
    z, noise = torch.randn(2, 4, 3, 3), torch.randn(2, 5, 4, 3, 3)
    still = mix(z, noise, torch.zeros(2))
    assert torch.equal(still, z[:, None].expand_as(still))
    assert torch.equal(mix(z, noise, torch.ones(2)), noise)


def test_each_episode_has_its_own_scale() -> None:
    z, noise = torch.randn(2, 8), torch.randn(2, 1, 8)
    both = mix(z, noise, torch.tensor([0.2, 0.9]))
    assert torch.equal(both[0], mix(z[:1], noise[:1], torch.tensor([0.2]))[0])
    assert torch.equal(both[1], mix(z[1:], noise[1:], torch.tensor([0.9]))[0])


def test_latents_are_those_of_a_diffusers_pipeline() -> None:
    from diffusers.utils.torch_utils import randn_tensor

    seeds = [3, 2**31 - 1]
    expected = [randn_tensor((1, 8, 12, 12), generator=torch.Generator().manual_seed(seed))[0] for seed in seeds]
    assert torch.equal(draw_latents(seeds, (8, 12, 12)), torch.stack(expected))
