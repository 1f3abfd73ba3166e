"""
A mechanism of your own
=======================

A mechanism draws the proposals of a round. Here is one whose second proposal lies further away than the scale says,
beside the paper's mixture and the Bayesian mechanism, which infers the goal from the choices.
"""

# %%
# It fulfils a protocol, and ``check_mechanism`` says whether it does: shapes, finite numbers, independence of
# neighbouring episodes.
import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch

import steer_env
from steer_env.proposals import mix
from steer_env.testing import check_mechanism
from steer_env.types import SteeringHistory


class Bold:
    """One proposal at the policy's scale, the other half way from there to a fresh image."""

    id, extra_images = "bold", 0

    def propose(
        self, latents: torch.Tensor, scales: torch.Tensor, noise: torch.Tensor, history: SteeringHistory
    ) -> torch.Tensor:
        """Latents (N, K, \\*latent_shape) of the proposals."""
        usual = mix(latents, noise, scales)
        bolder = mix(latents, noise, (1 + scales) / 2)
        return torch.cat([usual[:, :1], bolder[:, 1:]], dim=1)


check_mechanism(Bold())

# %%
# The same tasks, the same noise, the same schedule of scales. The Bayesian mechanism makes 24 images of its own in each
# episode, which a fair comparison has to count. 8 tasks are few: the errors say how little the difference means.
MECHANISMS = {"mixture": "mixture", "bold": Bold(), "bayesian": "bayesian:pool=24"}
results = {
    name: steer_env.evaluate(["published"], tasks=8, mechanism=mechanism, judges=[]).traces
    for name, mechanism in MECHANISMS.items()
}
for name, traces in results.items():
    gains = np.array([trace.improvement for trace in traces])
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    print(f"{name}: {gains.mean():.3f} ± {error:.3f}, {traces[0].images} images an episode")

# %%
# Similarity to the goal, attempt by attempt.
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, traces in results.items():
    axis.plot(range(1, 6), np.mean([trace.similarities for trace in traces], axis=0), marker="o", label=name)
axis.set(xlabel="attempt", ylabel="mean similarity to the goal", xticks=range(1, 6))
axis.legend()

# %%
# Its proposals, in one episode: blue the goal, green the choice.
env = gym.make("steer_env:steer_env/ImageSteering-v0", suite="tiles-test-v1", mechanism=Bold(), render_mode="rgb_array")
env.reset(options={"task_index": 3, "episode_seed": 5})
rows = []
for bucket in (7, 7, 4, 2):
    env.step(bucket)
    rows.append(env.render())
figure, axis = plt.subplots(figsize=(6, 6), layout="constrained")
axis.imshow(np.concatenate(rows))
axis.set_axis_off()
