"""Thompson sampling (Eq. 9) with Gymnasium and NumPy alone: which mixture scale gains most in each round?

Run it with ``python examples/train_with_gymnasium.py``. It leaves ``outputs/gymnasium/policy.json``, a policy that
``python -m experiments.evaluate 'policies=[random-bucket,outputs/gymnasium]'`` plays.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np

import steer_env

ROUNDS, BUCKETS = 4, 10


def train(batches: int = 30, environments: int = 32, seed: int = 0) -> np.ndarray:
    """Mixture scales float (4,), one a round, learned from ``batches * environments`` episodes.

    The improvement of an episode is noise of variance ``variance`` around the value of the bucket played in a round;
    values have the prior N(0, variance). Each episode plays the best buckets of one draw from the posterior.
    """
    rng = np.random.default_rng(seed)
    env = gym.make_vec("steer_env/ImageSteering-v0", num_envs=environments)
    env.reset(seed=seed)
    total, count, variance = np.zeros((ROUNDS, BUCKETS)), np.zeros((ROUNDS, BUCKETS)), 0.02
    rounds = np.arange(ROUNDS)
    for batch in range(batches):
        if batch:
            env.reset()
        mean, deviation = total / (1 + count), np.sqrt(variance / (1 + count))
        drawn = mean + deviation * rng.standard_normal((environments, ROUNDS, BUCKETS))
        buckets = drawn.argmax(axis=2)
        for played in buckets.T:
            improvement = env.step(played)[1]  # 0 before the last round
        np.add.at(total, (rounds, buckets), improvement[:, None])
        np.add.at(count, (rounds, buckets), 1)
    env.close()
    return (1 + (total / (1 + count)).argmax(axis=1)) / BUCKETS


if __name__ == "__main__":
    scales = train()
    steer_env.TablePolicy.schedule("gymnasium", scales).save(Path("outputs/gymnasium"))
    print("mixture scale of each round:", scales)
