"""Play policies, and record what happened: the only place where traces of simulated users come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from rich.progress import track

from steer_env import __version__
from steer_env.envs import ImageSteeringVectorEnv
from steer_env.policies import Policy
from steer_env.traces import SteeringTrace


def make_env(num_envs: int, **options: Any) -> ImageSteeringVectorEnv:
    """A vector environment as :func:`play` needs it: mixture scales as actions, no autoreset."""
    return ImageSteeringVectorEnv(num_envs, action="scale", autoreset_mode=AutoresetMode.DISABLED, **options)


def play(
    env: ImageSteeringVectorEnv,
    policies: Sequence[Policy],
    task_index: Sequence[int],
    episode_seeds: Sequence[int],
    training_seeds: Sequence[int] | None = None,
) -> list[SteeringTrace]:
    """Play one batch: every policy on every task, with common random numbers.

    The episodes of a task share its goal image, its first image and the noise behind its proposals, whichever
    policy plays them; goal and first image are made once for all policies.

    Args:
        env: from :func:`make_env`, with as many places as policies × tasks.
        policies: P of them.
        task_index: n tasks of the environment's suite.
        episode_seeds: n seeds of the episodes' noise.
        training_seeds: P seeds for the record; −1 by default.

    Returns:
        P × n traces, policy by policy.
    """
    places, n = len(policies), len(task_index)
    _, infos = env.reset(
        options={"task_index": np.tile(task_index, places), "episode_seed": np.tile(episode_seeds, places)}
    )
    parts = [slice(i * n, (i + 1) * n) for i in range(places)]
    for policy in policies:
        policy.start(episode_seeds)
    rounds = [infos]
    observation = env.observe()
    while not (observation["round"] >= env.dynamics.num_rounds).all():
        scales = [
            policy.act({name: values[part] for name, values in observation.items()})
            for policy, part in zip(policies, parts, strict=True)
        ]
        observation, *_, infos = env.step(np.concatenate(scales)[:, None])
        rounds.append(infos)
    seeds = training_seeds or [-1] * places
    return [
        trace
        for policy, seed, part in zip(policies, seeds, parts, strict=True)
        for trace in record(env, rounds, policy.name, seed, part)
    ]


def record(
    env: ImageSteeringVectorEnv, rounds: list[dict[str, Any]], policy: str, training_seed: int, part: slice
) -> Iterator[SteeringTrace]:
    """Traces of episodes that have just ended.

    Args:
        env: not yet restarted.
        rounds: infos of the reset and of each round.
        policy: name of the policy that played.
        training_seed: of its training.
        part: which places of the batch.
    """
    dynamics = env.dynamics
    judges = [name.removeprefix("similarity/") for name in rounds[0] if name.startswith("similarity/")]
    for row in range(part.start, part.stop):
        task = dynamics.tasks[row]
        assert task is not None
        yield SteeringTrace(
            suite=task.suite,
            task_index=task.index,
            goal_prompt=task.goal_prompt,
            goal_seed=task.goal_seed,
            prompt=task.prompt,
            initial_seed=task.initial_seed,
            episode_seed=int(rounds[0]["episode_seed"][row]),
            mechanism=dynamics.distribution.id,
            policy=policy,
            training_seed=training_seed,
            human=dynamics.human.id,
            generator=dynamics.generator.id,
            metric=dynamics.metric.id,
            scales=[float(infos["mixture_scale"][row]) for infos in rounds[1:]],
            choices=[int(infos["choice"][row]) for infos in rounds[1:]],
            similarities=[float(infos["similarity"][row]) for infos in rounds],
            judged={name: [float(infos[f"similarity/{name}"][row]) for infos in rounds] for name in judges},
            prompts=[],
            versions=VERSIONS,
        )


def evaluate(
    policies: Sequence[Policy],
    tasks: int,
    tasks_per_batch: int = 16,
    training_seeds: Sequence[int] | None = None,
    first_task: int = 0,
    **options: Any,
) -> Iterator[list[SteeringTrace]]:
    """Play every policy on the first tasks of a suite, batch by batch, behind a progress bar.

    An episode's noise comes from its task alone, so results of different runs are paired.

    Args:
        policies: any number.
        tasks: how many tasks of the suite.
        tasks_per_batch: how many of them at a time; bounds the memory together with the generator's ``max_batch``.
        training_seeds: one a policy, for the record.
        first_task: where to begin, to go on with an interrupted evaluation.
        **options: of the environment (suite, generator, metric, human, rounds, …).

    Yields:
        The traces of each batch of tasks.

    Raises:
        ValueError: the suite has fewer tasks.
    """
    env = make_env(len(policies) * min(tasks_per_batch, tasks), **options)
    if tasks > len(env.suite):
        raise ValueError(f"suite {env.suite.name!r} has {len(env.suite)} tasks, {tasks} were asked for")
    starts = range(first_task, tasks, tasks_per_batch)
    for start in track(starts, f"{len(policies)} policies on {env.suite.name}", disable=len(starts) < 2):
        index = list(range(start, min(start + tasks_per_batch, tasks)))
        if len(policies) * len(index) != env.num_envs:
            env = make_env(len(policies) * len(index), **options)
        yield play(env, policies, index, [evaluation_seed(i) for i in index], training_seeds)


def evaluation_seed(task_index: int) -> int:
    """The seed of the noise that every policy meets on a task of a suite."""
    return int(np.random.SeedSequence([0xE7A1, task_index]).generate_state(1)[0] >> 1)


def replay(trace: SteeringTrace, **options: Any) -> list[np.ndarray]:
    """Play an episode again from its trace and draw it.

    Returns:
        One frame a round, uint8 (H, W, 3): the goal, the image held before the round, and the proposals.

    Raises:
        RuntimeError: the parts now behave otherwise than when the trace was made.
    """
    env = make_env(1, suite=trace.suite, rounds=len(trace.scales), render_mode="rgb_array", **options)
    env.reset(options={"task_index": [trace.task_index], "episode_seed": [trace.episode_seed]})
    frames = []
    for scale, choice in zip(trace.scales, trace.choices, strict=True):
        *_, infos = env.step(np.array([[scale]]))
        if infos["choice"][0] != choice:
            raise RuntimeError(f"replaying task {trace.task_index} of {trace.suite}: the user chose otherwise")
        drawn = env.render()
        assert drawn is not None
        frames.append(drawn[0])
    return frames


def _versions() -> dict[str, str]:
    found = {"steer_env": __version__}
    for package in ("torch", "diffusers", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


VERSIONS = _versions()
