"""
Train a policy with Gymnasium alone
===================================

An agent that keeps a mean for each mixture scale of each round, and plays the best one most of the time. No library for
learning is needed: the environment is a plain Gymnasium environment.
"""

# %%
# 16 episodes are played side by side, in one process, with one call of the model a round.
import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np

import steer_env

N, BATCHES = 16, 6
env = gym.make_vec("steer_env:steer_env/ImageSteering-v0", num_envs=N, reward="increment")
rng = np.random.default_rng(0)

# %%
# Bucket b is the mixture scale (b + 1) / 10: how far the proposals lie from the current image. The reward of a round is
# what it gained, so each round has means of its own. Half of the rounds explore, less and less.
total, count = np.zeros((4, 10)), np.zeros((4, 10))
gained = []
for batch in range(BATCHES):
    env.reset(seed=1000 * batch)
    episode = np.zeros(N)
    for step in range(4):
        mean = total[step] / np.maximum(count[step], 1)
        explore = rng.random(N) < 0.5 * (1 - batch / BATCHES) + 0.1
        buckets = np.where(explore, rng.integers(10, size=N), mean.argmax())
        reward = env.step(buckets)[1]
        np.add.at(total[step], buckets, reward)
        np.add.at(count[step], buckets, 1)
        episode += reward
    gained.append(episode.mean())

# %%
# What it learned. A round gains less the later it comes. 96 episodes are few; with ten times as many, later rounds want
# smaller scales.
mean = total / np.maximum(count, 1)
scales = (1 + mean.argmax(axis=1)) / 10
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for step in range(4):
    left.plot(np.arange(1, 11) / 10, mean[step], marker="o", label=f"round {step + 1}")
left.set(xlabel="mixture scale", ylabel="mean improvement of the round")
left.legend()
right.plot(np.arange(1, BATCHES + 1) * N, gained, marker="o")
right.set(xlabel="episodes", ylabel="mean improvement of the batch")
print("mixture scale of each round:", scales)

# %%
# On the same 8 test tasks, with the same noise, beside random scales. Those are few: look at the interval before you
# believe a difference.
mine = steer_env.TablePolicy.schedule("mine", scales)
result = steer_env.evaluate([mine, "random-bucket"], tasks=8)
print(result.table())
