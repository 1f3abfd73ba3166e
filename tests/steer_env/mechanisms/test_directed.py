"""Actions that decide proposals: in distribution, under the leash, alone and in batches."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from steer_env.evaluation.rollout import make_env, play, replay
from steer_env.mechanisms.directions import DirectionSteering, LatentSteering, low_frequencies
from steer_env.mechanisms.options import DirectionsOptions, ProposalsOptions
from steer_env.proposals import mix
from steer_env.types import DirectedMechanism, SteeringHistory

SHAPE, D = (4, 6, 6), 8


def propose(mechanism: DirectedMechanism, actions: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    n, k = actions.shape[:2]
    rng = torch.Generator().manual_seed(seed)
    latents, noise = torch.randn(n, *SHAPE, generator=rng), torch.randn(n, k, *SHAPE, generator=rng)
    empty = torch.zeros(n, 4, 0)
    history = SteeringHistory(np.arange(n), np.zeros(n, int), range(n), {}, empty, empty, empty)
    return mechanism.propose(latents, actions, noise, history), latents, noise


def drawn(n: int, *shape: int) -> Tensor:
    return 2 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(1)) - 1


@pytest.mark.parametrize("shape", [(4, 6, 6), (3, 5, 4), (7,), (2, 3, 3, 3)])
def test_the_basis_is_orthonormal_and_begins_with_each_channels_mean(shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    basis = low_frequencies(shape, size)
    np.testing.assert_allclose(basis @ basis.T, np.eye(size), atol=1e-6)
    channels = shape[0] if len(shape) > 1 else 1
    latent = np.random.default_rng(0).normal(size=shape).reshape(channels, -1)
    means = basis[:channels] @ latent.ravel()
    np.testing.assert_allclose(means, latent.mean(axis=1) * latent.shape[1] ** 0.5, atol=1e-6)


@pytest.mark.parametrize("scale", [-1.0, -0.2, 0.5, 1.0])
def test_without_a_direction_it_is_the_mixture(scale: float) -> None:
    actions = torch.zeros(5, 2, 1 + D)
    actions[..., 0] = scale
    found, latents, noise = propose(DirectionSteering(SHAPE, DirectionsOptions(D)), actions)
    torch.testing.assert_close(found, mix(latents, noise, torch.full((5,), (1 + scale) / 2)))


@pytest.mark.parametrize("leash", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("wild", [False, True])
def test_proposals_are_standard_normal_whatever_their_scales(leash: float, wild: bool) -> None:
    """Exactly where nothing is directed; and in their first two moments where any directions are as likely."""
    actions = drawn(4000, 2, 1 + D)
    if not wild:
        actions[..., 1:] = 0
    found, _, _ = propose(DirectionSteering(SHAPE, DirectionsOptions(D, leash)), actions)
    entries = found.flatten(2)
    if not wild or leash == 0:
        assert kstest(entries.flatten()[::7].numpy(), "norm").pvalue > 0.01
        assert kstest((entries[:, 0] @ torch.from_numpy(low_frequencies(SHAPE, D)).T).flatten(), "norm").pvalue > 0.01
    assert abs(float(entries.mean())) < 0.005
    assert abs(float(entries.square().mean()) - 1) < 0.01


@pytest.mark.parametrize("leash", [0.3, 0.9])
def test_the_leash_bounds_what_a_policy_decides_and_noise_makes_up_for_it(leash: float) -> None:
    actions = torch.ones(3000, 1, 1 + D)
    mechanism = DirectionSteering(SHAPE, DirectionsOptions(D, leash))
    found, _, _ = propose(mechanism, actions)
    coordinates = (found.flatten(2) @ torch.from_numpy(low_frequencies(SHAPE, D)).T)[:, 0]
    torch.testing.assert_close(mechanism.decided(actions), torch.full((3000,), leash**2))
    # All the way in one direction: its mean is the leash, what is left is noise, and the square is the prior's.
    torch.testing.assert_close(coordinates.mean(dim=0), torch.full((D,), leash), atol=0.08, rtol=0)
    torch.testing.assert_close(coordinates.var(dim=0), torch.full((D,), 1 - leash**2), atol=0.08, rtol=0)
    assert abs(float(coordinates.square().mean()) - 1) < 0.03


def test_shorter_directions_decide_less() -> None:
    actions = torch.zeros(1, 1, 1 + D)
    actions[..., 3] = 0.5
    mechanism = DirectionSteering(SHAPE, DirectionsOptions(D, 0.8))
    assert float(mechanism.decided(actions)) == pytest.approx(0.8**2 * 0.25)
    found = torch.stack([propose(mechanism, torch.cat([actions + 0] * 1), seed)[0] for seed in range(800)])
    along = (found.flatten(3) @ torch.from_numpy(low_frequencies(SHAPE, D)).T).mean(dim=(0, 1, 2))
    # The scale's entry is 0, half of it: (0.5 z + 0.5 ε) / √0.5.
    assert float(along[2]) == pytest.approx(0.8 * 0.5 * D**0.5 * 0.5**0.5, abs=0.1)


def test_latents_are_what_the_policy_says_but_no_longer_than_the_leash() -> None:
    latents = torch.randn(6, 2, *SHAPE, generator=torch.Generator().manual_seed(3)).clamp(-5, 5)
    found, _, _ = propose(LatentSteering(SHAPE, ProposalsOptions(0)), latents / 5)
    torch.testing.assert_close(found, latents)
    held, _, _ = propose(LatentSteering(SHAPE, ProposalsOptions(1.0)), drawn(6, 2, *SHAPE))
    typical = float(torch.tensor(SHAPE).prod()) ** 0.5
    torch.testing.assert_close(held.flatten(2).norm(dim=2), torch.full((6, 2), typical))
    short, _, _ = propose(LatentSteering(SHAPE, ProposalsOptions(1.0)), latents / 10)
    torch.testing.assert_close(short, latents / 2)


@pytest.mark.parametrize(
    "mechanism", [DirectionSteering(SHAPE, DirectionsOptions(D)), LatentSteering(SHAPE, ProposalsOptions())]
)
def test_an_episode_is_the_same_alone(mechanism: Any) -> None:
    actions = drawn(5, *mechanism.action_shape(2))
    found, latents, noise = propose(mechanism, actions)
    empty = torch.zeros(1, 4, 0)
    for i in range(5):
        history = SteeringHistory(np.array([i]), np.zeros(1, int), [i], {}, empty, empty, empty)
        alone = mechanism.propose(latents[i : i + 1], actions[i : i + 1], noise[i : i + 1], history)
        assert torch.equal(alone[0], found[i])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("directions:dimensions=0", "dimensions must be from 1 to 1000000, got 0"),
        ("directions:dimensions=1153", "dimensions must be 1 to 1152, the size of a latent, got 1153"),
        ("directions:leash=1", "leash must be from 0 to 0.9999, got 1"),
        ("proposals:leash=-1", "leash must be from 0 to 1000, got -1"),
        ("direction", "unknown kind of action 'direction'; did you mean 'directions'"),
        ("directions:dims=3", "unknown option of kind of action 'directions' 'dims'"),
    ],
)
def test_wrong_options_are_one_line(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make_env(1, action=spec)
    assert "\n" not in str(caught.value)


def test_an_action_that_is_a_mechanism_admits_no_other() -> None:
    with pytest.raises(ValueError, match="action=directions is a mechanism of its own: mechanism must be mixture"):
        make_env(1, action="directions", mechanism="feedback")


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.full((1, 2, 33), 1.5), "an action holds 1.5: allowed is"),
        (np.full((1, 2, 33), np.nan), "an action holds nan"),
        (np.zeros((1, 2, 32)), "need actions of shape"),
    ],
)
def test_wrong_actions_are_refused(action: np.ndarray, message: str) -> None:
    env = make_env(1, action="directions")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


class Directing:
    """Directs at random, from each episode's own seed; its action says in which track."""

    training_seed, observe = -1, ("history",)

    def __init__(self, action: str, shape: tuple[int, ...]) -> None:
        self.name, self.action, self._shape = f"random {action.partition(':')[0]}", action, shape

    def start(self, episode_seeds: Any) -> None:
        self._rngs = [np.random.default_rng([seed, 7]) for seed in episode_seeds]

    def act(self, observation: Any) -> np.ndarray:
        assert observation["shown"].shape[1:3] == (2, 3)
        return np.stack([rng.uniform(-1, 1, self._shape).astype(np.float32) for rng in self._rngs])


@pytest.mark.parametrize(
    ("action", "shape"), [("directions:dimensions=8,leash=0.9", (2, 9)), ("proposals:leash=1", (2, 8, 12, 12))]
)
def test_episodes_are_recorded_and_drawn_again(action: str, shape: tuple[int, ...]) -> None:
    policy, options = Directing(action, shape), {"rounds": 2, "suite": "tiles-val-v1"}
    env = make_env(3, action=action, observe=["history"], **options)
    traces = play(env, [policy], [3, 4, 5], [11, 12, 13])
    (alone,) = play(make_env(1, action=action, observe=["history"], **options), [policy], [4], [12])
    assert alone.actions == traces[1].actions
    assert alone.choices == traces[1].choices
    assert [trace.mechanism for trace in traces] == [action] * 3
    assert not traces[0].scales
    assert np.shape(traces[0].actions) == (2, np.prod(shape))
    assert len(replay(traces[1], **options)) == 2
