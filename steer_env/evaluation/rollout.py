"""Play policies, and record what happened: the only place where traces of simulated users come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from steer_env.envs import ImageSteeringVectorEnv, SteeringVectorEnv, TextSteeringVectorEnv
from steer_env.humans.settings import win_stay
from steer_env.policies import Policy
from steer_env.traces import SteeringTrace
from steer_env.types import Prompter
from steer_env.versions import package_versions

_CHOOSERS_OPTIONS = ("human", "mechanism", "proposals")
"""Options of the environment that mean nothing to users who write prompts."""
_WRITERS_OPTIONS = ("choose",)
"""And those that mean nothing to users who choose among images."""
_SAME_SIMILARITY = 0.01
"""Images of one latent and prompt, made on other machines or in other batches, are at least as alike as this."""


def make_env(num_envs: int, **options: Any) -> ImageSteeringVectorEnv:
    """A vector environment as :func:`play` needs it: mixture scales as actions, no autoreset."""
    known = image_options(options)
    return ImageSteeringVectorEnv(num_envs, action="scale", autoreset_mode=AutoresetMode.DISABLED, **known)


def image_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an environment, without what only text steering knows."""
    return {name: value for name, value in options.items() if name not in _WRITERS_OPTIONS}


def make_text_env(num_envs: int, **options: Any) -> TextSteeringVectorEnv:
    """A vector environment as :func:`play_text` needs it; what only image steering knows of the options is left out."""
    known = {name: value for name, value in options.items() if name not in _CHOOSERS_OPTIONS}
    return TextSteeringVectorEnv(num_envs, autoreset_mode=AutoresetMode.DISABLED, **known)


def play(
    env: ImageSteeringVectorEnv,
    policies: Sequence[Policy],
    task_index: Sequence[int],
    episode_seeds: Sequence[int],
) -> list[SteeringTrace]:
    """Play one batch: every policy on every task, with common random numbers.

    The episodes of a task share its goal image, its first image and the noise behind its proposals, whichever
    policy plays them; goal and first image are made once for all policies.

    Args:
        env: from :func:`make_env`, with as many places as policies × tasks.
        policies: P of them.
        task_index: n tasks of the environment's suite.
        episode_seeds: n seeds of the episodes' noise.

    Returns:
        P × n traces, policy by policy.
    """
    parts, rounds = _begin(env, len(policies), task_index, episode_seeds)
    for policy in policies:
        policy.start(episode_seeds)
    observation = env.observe()
    while not (observation["round"] >= env.dynamics.num_rounds).all():
        scales = [
            policy.act({name: values[part] for name, values in observation.items()})
            for policy, part in zip(policies, parts, strict=True)
        ]
        observation, *_, infos = env.step(np.concatenate(scales)[:, None])
        rounds.append(infos)
    return [
        trace
        for policy, part in zip(policies, parts, strict=True)
        for trace in record(env, rounds, policy.name, policy.training_seed, part)
    ]


def play_text(
    env: TextSteeringVectorEnv, prompters: Sequence[Prompter], task_index: Sequence[int], episode_seeds: Sequence[int]
) -> list[SteeringTrace]:
    """Play one batch of text steering: every prompter on every task, with common random numbers.

    Args:
        env: from :func:`make_text_env`, with as many places as prompters × tasks.
        prompters: P of them.
        task_index: n tasks of the environment's suite.
        episode_seeds: n seeds of the episodes' latents and of the prompters' draws.

    Returns:
        P × n traces, prompter by prompter; goals and first images are those of image steering.
    """
    parts, rounds = _begin(env, len(prompters), task_index, episode_seeds)
    for prompter in prompters:
        prompter.start([env.suite[i] for i in task_index], episode_seeds)
    written = [[prompt] for prompt in env.dynamics.prompts]
    settings = _Settings(env, list(episode_seeds) * len(prompters))
    for _ in range(env.dynamics.num_rounds):
        similarities = np.stack([infos["similarity"] for infos in rounds], axis=1)
        for prompter, part in zip(prompters, parts, strict=True):
            new = prompter.write(written[part], similarities[part])
            for row, prompt in zip(written[part], new, strict=True):
                row.append(prompt)
        prompts = [row[-1] for row in written]
        *_, infos = env.step({"prompt": prompts, **settings.choose(similarities)} if env.choose else prompts)
        rounds.append(infos)
    return [
        trace
        for prompter, part in zip(prompters, parts, strict=True)
        for trace in record(env, rounds, prompter.name, prompter.training_seed, part, written, settings.tried)
    ]


class _Settings:
    """What the users of all places have set besides their prompts, where they may."""

    def __init__(self, env: TextSteeringVectorEnv, episode_seeds: Sequence[int]) -> None:
        first = [env.first_settings(row) for row in range(env.num_envs)]
        self.tried = {name: [[settings[name]] for settings in first] for name in env.choose}
        self._habits = {name: win_stay(env.setting_spaces[name]) for name in env.choose}
        for habit in self._habits.values():
            habit.start(episode_seeds)

    def choose(self, similarities: np.ndarray) -> dict[str, list[Any]]:
        """By name, the next attempt's, from similarities float (N, t)."""
        for name, habit in self._habits.items():
            for row, value in zip(self.tried[name], habit.choose(self.tried[name], similarities), strict=True):
                row.append(value)
        return {name: [row[-1] for row in tried] for name, tried in self.tried.items()}


def _begin(
    env: SteeringVectorEnv, players: int, task_index: Sequence[int], episode_seeds: Sequence[int]
) -> tuple[list[slice], list[dict[str, Any]]]:
    """Start every player's episodes: the places of each, and the infos so far."""
    n = len(task_index)
    given = {"task_index": np.tile(task_index, players), "episode_seed": np.tile(episode_seeds, players)}
    _, infos = env.reset(options=given)
    return [slice(i * n, (i + 1) * n) for i in range(players)], [infos]


def record(
    env: SteeringVectorEnv,
    rounds: list[dict[str, Any]],
    policy: str,
    training_seed: int,
    part: slice,
    prompts: Sequence[Sequence[str]] | None = None,
    settings: Mapping[str, Sequence[Sequence[Any]]] | None = None,
) -> Iterator[SteeringTrace]:
    """Traces of episodes that have just ended.

    Args:
        env: not yet restarted.
        rounds: infos of the reset and of each round.
        policy: name of the policy that played.
        training_seed: of its training.
        part: which places of the batch.
        prompts: of every place and each of its attempts, in text steering.
        settings: the same, by name of what users may choose besides.
    """
    chosen = settings or {}
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
            mechanism=env.mechanism_id,
            policy=policy,
            training_seed=training_seed,
            human=dynamics.human.id,
            generator=dynamics.generator.id,
            metric=dynamics.metric.id,
            scales=[float(infos["mixture_scale"][row]) for infos in rounds[1:] if "mixture_scale" in infos],
            choices=[int(infos["choice"][row]) for infos in rounds[1:] if "choice" in infos],
            similarities=[float(infos["similarity"][row]) for infos in rounds],
            judged={name: [float(infos[f"similarity/{name}"][row]) for infos in rounds] for name in judges},
            prompts=prompts[row] if prompts else [],
            seeds=chosen["seed"][row] if "seed" in chosen else [],
            guidance=chosen["guidance"][row] if "guidance" in chosen else [],
            versions=VERSIONS,
            images=int(dynamics.images_made[row]),
        )


def replay(trace: SteeringTrace, **options: Any) -> list[np.ndarray]:
    """Play an episode again from its trace and draw it.

    Returns:
        One frame a round, uint8 (H, W, 3): the goal, the image held before the round, and the proposals, or the image
        of the new prompt.

    Raises:
        RuntimeError: the parts now behave otherwise than when the trace was made.
    """
    options = {"suite": trace.suite, "rounds": len(trace.similarities) - 1, "render_mode": "rgb_array", **options}
    settings = {name: values for name, values in (("seed", trace.seeds), ("guidance", trace.guidance)) if values}
    options["choose"] = list(settings)
    env: SteeringVectorEnv = make_text_env(1, **options) if trace.prompts else make_env(1, **options)
    actions: list[Any] = [[prompt] for prompt in trace.prompts[1:]]
    if settings:
        told = {"prompt": trace.prompts, **settings}
        actions = [{name: [values[i]] for name, values in told.items()} for i in range(1, len(trace.prompts))]
    actions += [np.array([[scale]]) for scale in trace.scales]
    env.reset(options={"task_index": [trace.task_index], "episode_seed": [trace.episode_seed]})
    frames = []
    for place, action in enumerate(actions):
        *_, infos = env.step(action)
        where = f"replaying task {trace.task_index} of {trace.suite}"
        if trace.choices and infos["choice"][0] != trace.choices[place]:
            raise RuntimeError(f"{where}: the user chose otherwise")
        if abs(infos["similarity"][0] - trace.similarities[place + 1]) > _SAME_SIMILARITY:
            raise RuntimeError(f"{where}: another image came of round {place + 1}")
        drawn = env.render()
        assert drawn is not None
        frames.append(drawn[0])
    return frames


VERSIONS = package_versions("torch", "diffusers", "numpy")
