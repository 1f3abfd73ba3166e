"""A policy of your own as a network, trained with plain PyTorch: it sees what users saw and decides what is offered.

Run it with ``python examples/your_network_policy.py``; it needs ``pip install "steer-env[onnx]"``. It leaves
``outputs/your-network/`` with ``policy.json`` and ``policy.onnx``, which every command plays, without torch and without
any code of yours: ``python -m experiments.evaluate 'policies=[random-bucket,outputs/your-network]'``.

The idea: where a policy directs the noise at random, least squares say how its coordinates move images in the space of
embeddings. A linear map from the history to the goal's place there is fitted to how similar to the goal the images of
an episode were. Put together they say which direction of the noise to offer next.
"""

from __future__ import annotations

import io
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

import steer_env
from steer_env.evaluation.evaluate import Evaluation
from steer_env.policies.networks import NetworkPolicy
from steer_env.testing import check_policy

ACTION, DIMENSIONS, ROUNDS = "directions:dimensions=8,leash=0.9", 8, 4
OBSERVE = ["embedding", "conditioning", "history"]
INPUTS = ["round", "embedding", "conditioning", "shown", "chosen"]
SCALES = [1.0, 1.0, 0.8, 0.6]
"""Mixture scale of each round, as the best schedule has them."""


def collect(episodes: int, environments: int = 32, seed: int = 0) -> dict[str, Tensor]:
    """Play directions at random; what was seen in each round, float (N, R, …), what was done, and what came of it."""
    env = gym.make_vec("steer_env/ImageSteering-v0", num_envs=environments, action=ACTION, observe=OBSERVE, named=True)
    rng, parts = np.random.default_rng(seed), []
    for batch in range(-(-episodes // environments)):
        seen, _ = env.reset(seed=seed + 1_000_000 * batch)
        rows = []
        for scale in SCALES:
            directions = rng.standard_normal((environments, 2, DIMENSIONS))
            directions /= np.linalg.norm(directions, axis=2, keepdims=True)
            scales = np.full((environments, 2, 1), 2 * scale - 1)
            before = {name: seen[name] for name in INPUTS[1:]}
            before["round"] = np.eye(ROUNDS + 1)[seen["round"]]
            seen, *_, infos = env.step(np.concatenate([scales, directions], axis=2).astype(np.float32))
            rows.append({**before, "directions": directions, "similarities": infos["similarities"]})
        whole = {name: np.stack([row[name] for row in rows], axis=1) for name in rows[0]}
        parts.append(whole | {"screens": seen["shown"]})
    env.close()
    return {name: torch.as_tensor(np.concatenate([p[name] for p in parts]), dtype=torch.float32) for name in parts[0]}


class Directed(nn.Module):
    """From observations to the scale and the direction of both proposals, (1, 2, 1 + d)."""

    def __init__(self, moves: Tensor, embedding: int, conditioning: int) -> None:
        super().__init__()
        size = ROUNDS + 1 + 2 * embedding + conditioning
        self.goal = nn.Sequential(nn.BatchNorm1d(size), nn.Dropout(0.3), nn.Linear(size, embedding))
        self.register_buffer("moves", moves)
        self.register_buffer("scales", 2 * torch.tensor([*SCALES, SCALES[-1]]) - 1)

    def guess(self, round: Tensor, embedding: Tensor, conditioning: Tensor, shown: Tensor, chosen: Tensor) -> Tensor:
        """Where the goal may be, (N, D): from the prompt, the image held, and what was chosen over what."""
        preferred = 1.5 * chosen - 0.5 * chosen.sum(dim=2, keepdim=True)
        leaning = (shown * preferred[..., None]).sum(dim=(1, 2))
        return self.goal(torch.cat([round, embedding, conditioning, leaning], dim=1))

    def forward(self, round: Tensor, embedding: Tensor, conditioning: Tensor, shown: Tensor, chosen: Tensor) -> Tensor:
        direction = self.guess(round, embedding, conditioning, shown, chosen) @ self.moves.T
        direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-6)
        scale = (round * self.scales).sum(dim=1, keepdim=True)
        one = torch.cat([scale, direction], dim=1)
        return torch.stack([one, one], dim=1)


def fit(played: dict[str, Tensor], steps: int = 300, seed: int = 0) -> Directed:
    """How coordinates move images, by ridge regression; then the map from the history to the goal."""
    torch.manual_seed(seed)
    screens, similarities = played["screens"], played["similarities"]
    moved = screens[:, :, 1:] - screens[:, :, 1:].mean(dim=(1, 2), keepdim=True)
    acts, moved = played["directions"].flatten(0, 2), moved.flatten(0, 2)
    moves = torch.linalg.solve(acts.T @ acts + torch.eye(DIMENSIONS), acts.T @ moved)
    policy = Directed(moves, screens.shape[3], played["conditioning"].shape[2])
    optimiser = torch.optim.AdamW(policy.goal.parameters(), lr=2e-3, weight_decay=0.1)
    for _ in range(steps):
        rows = torch.randint(len(screens), (64,))
        seen = [played[name][rows].flatten(0, 1) for name in INPUTS]
        guess = policy.guess(*seen).unflatten(0, (len(rows), ROUNDS))
        # How similar would all images of the episode be to a goal there? Those to come are what it can't know yet.
        alike = torch.einsum("nrd,nskd->nrsk", guess, screens[rows])
        loss = (alike - similarities[rows][:, None]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return policy.eval()


def export(policy: Directed, name: str = "your network") -> NetworkPolicy:
    """The network as a policy, checked."""
    embedding, conditioning = policy.moves.shape[1], policy.goal[2].in_features - ROUNDS - 1 - 2 * policy.moves.shape[1]
    shapes = [(ROUNDS + 1,), (embedding,), (conditioning,), (ROUNDS, 3, embedding), (ROUNDS, 3)]
    file = io.BytesIO()
    torch.onnx.export(
        policy,
        tuple(torch.zeros(1, *shape) for shape in shapes),
        file,
        input_names=INPUTS,
        output_names=["action"],
        opset_version=17,
        dynamo=False,
    )
    made = NetworkPolicy(name, file.getvalue(), ACTION, OBSERVE)
    check_policy(lambda: made)
    return made


def main(episodes: int = 1024, tasks: int = 100, folder: str = "outputs/your-network") -> Evaluation:
    """Collect, fit, export, check, store, and compare with the best schedule of scales."""
    export(fit(collect(episodes))).save(Path(folder))
    return steer_env.evaluate([Path(folder), "schedule:1.0-1.0-0.8-0.6"], tasks=tasks)


if __name__ == "__main__":
    print(main().table().to_string(index=False))
