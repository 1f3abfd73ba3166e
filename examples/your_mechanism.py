"""A mechanism of your own: proposals in opposite pairs, played by a constant policy beside the paper's mixture.

Run it with ``python examples/your_mechanism.py``.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from steer_env.envs import ImageSteeringVectorEnv
from steer_env.proposals import mix
from steer_env.testing import check_mechanism
from steer_env.types import Mechanism, SteeringHistory


class AntitheticMixture:
    """Mixtures (Eq. 8) whose noise comes in opposite pairs, ε and −ε, so that a pair differs as it can.

    A mechanism fulfils :class:`steer_env.types.Mechanism`; ``steer_env.testing.check_mechanism`` says whether it does.
    """

    id, extra_images = "antithetic", 0

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """Latents (N, K, *latent_shape) of the proposals; every second noise is the one before, negated."""
        paired = noise.clone()
        paired[:, 1::2] = -noise[:, : noise.shape[1] - noise.shape[1] % 2 : 2]
        return mix(latents, paired, scales)


def improvement(mechanism: str | Mechanism, episodes: int = 32, scale: float = 0.7) -> float:
    """Mean improvement of a constant mixture scale, on the same tasks and noise for every mechanism."""
    env = ImageSteeringVectorEnv(episodes, suite="tiles-val-v1", action="scale", mechanism=mechanism)
    env.reset(options={"task_index": list(range(episodes)), "episode_seed": list(range(episodes))})
    for _ in range(4):
        rewards = env.step(np.full((episodes, 1), scale))[1]
    return float(rewards.mean())


if __name__ == "__main__":
    check_mechanism(AntitheticMixture())
    for each in ("mixture", AntitheticMixture()):
        print(f"{each if isinstance(each, str) else each.id}: {improvement(each):+.3f}")
