"""The policy of an agent after given numbers of episodes, as a learning curve needs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.bandits import BanditAgent
from agents.episodes import Training
from agents.training import train
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.policies import POLICY_FILE, TablePolicy, read_policy


def check_milestones(episodes: Sequence[int], batch: int) -> None:
    """Can a training be looked at after these numbers of episodes without being another one than if it weren't?

    Raises:
        ValueError: none, not ascending, or not multiples of the batch that shares a posterior.
    """
    numbers = list(episodes)
    if not numbers or sorted(set(numbers)) != numbers or any(number < 1 or number % batch for number in numbers):
        raise ValueError(f"checkpoints must be ascending multiples of the batch, {batch} episodes, got {numbers}")


def milestones(
    agent: BanditAgent, env: ImageSteeringVectorEnv, seed: int, episodes: Sequence[int], folder: Path
) -> list[TablePolicy] | None:
    """Train, and keep the policy that the agent would choose after each of these numbers of episodes.

    What an interrupted call has left in the folder is gone on from, exactly.

    Args:
        agent: untrained.
        env: as :func:`agents.training.train` needs it.
        seed: of the training.
        episodes: see :func:`check_milestones`.
        folder: receives what the training leaves, and ``policies/``.

    Returns:
        One policy for each number; None after Ctrl-C.

    Raises:
        RunExistsError: the folder holds a training of another configuration.
    """
    found = []
    for number in episodes:
        place = folder / "policies" / f"{number:08d}"
        if not (place / POLICY_FILE).is_file():
            if not train(agent, env, Training(number, seed), folder):
                return None
            agent.policy(f"after {number} episodes", seed).save(place)
        policy = read_policy(place)
        assert isinstance(policy, TablePolicy), "bandits learn tables"
        found.append(policy)
    return found
