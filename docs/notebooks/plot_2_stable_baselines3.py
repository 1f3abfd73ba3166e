"""
Stable-Baselines3 on what it sees
=================================

PPO that observes the current image's embedding, not only the round. A batch of environments goes to Stable-Baselines3
as one, so that a round is one call of the model.
"""

# %%
# ``SteeringVecEnv`` hands over the traces of the episodes as they end; the goal is in them, and never in what PPO sees.
import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
from stable_baselines3 import PPO

from steer_env.sb3 import SteeringVecEnv

N = 16
env = gym.make_vec(
    "steer_env:steer_env/ImageSteering-v0",
    num_envs=N,
    autoreset_mode="Disabled",
    observe=["embedding"],
    reward="increment",
)
traces = []
batch = SteeringVecEnv(env, finished=traces.extend)
print(batch.observation_space)

# %%
# Three updates, each on two episodes of each environment. A policy that is worth having takes some thousands.
model = PPO("MlpPolicy", batch, n_steps=8, batch_size=64, n_epochs=4, gamma=1.0, learning_rate=1e-3, seed=0)
model.learn(3 * 8 * N)

# %%
# The course of the training. The grey band is one standard error of each batch's mean: most of what moves is noise.
gains = np.array([trace.improvement for trace in traces]).reshape(-1, N)
mean, error = gains.mean(axis=1), gains.std(axis=1, ddof=1) / np.sqrt(N)
episodes = np.arange(1, len(gains) + 1) * N
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.fill_between(episodes, mean - error, mean + error, color="0.85")
axis.plot(episodes, mean, marker="o")
axis.set(xlabel="episodes", ylabel="mean improvement")
print(f"{len(traces)} episodes, mean improvement {gains.mean():.3f}")

# %%
# Which mixture scale it would play now, by round: the median over the last batch.
scales = np.array([trace.scales for trace in traces[-N:]])
print("median mixture scale of each round:", np.median(scales, axis=0))
