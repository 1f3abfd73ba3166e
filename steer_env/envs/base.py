"""What all steering environments share: parts, tasks, seeds, rewards, autoreset and drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from steer_env.devices import DTYPES, resolve_device
from steer_env.dynamics import SteeringDynamics, pooled
from steer_env.envs import vector_infos
from steer_env.envs.flat import flat_space, flatten, row_of
from steer_env.generators import load_generator
from steer_env.imaging import StudioSpec, is_elsewhere, make_studio
from steer_env.imaging.bank import GoalBank
from steer_env.limits import whole
from steer_env.metrics import load_judges, load_metric
from steer_env.registry import AUTO, Registry, Spec, checked_value, own_part
from steer_env.rendering import frame
from steer_env.tasks import load_suite
from steer_env.types import Generator, Metric, RoundOutcome, Studio, Task

REWARDS = Registry("reward", {"final": "the improvement, at the last round", "increment": "its part in each round"})
OBSERVABLE = {
    "image": "uint8",
    "embedding": "in [−1, 1]",
    "latent": "standard normal",
    "conditioning": "the prompt as the generator encoded it, means over tokens",
    "history": "what was shown, as embeddings, what was chosen of it, and which rounds were played",
}
LATENT_BOUND = 10.0
"""Observed latents are clipped here; a standard normal value lies beyond once in 10²² draws."""
PROMPT_BOUND = 100.0
"""And encoded prompts here; those of Stable Diffusion's text encoders lie within a third of it."""
LAST_SEED = 2**63 - 1
"""Traces hold seeds in 64 bits."""
FIRST_SEED = 42
"""Of those of a model that has only some."""


class SteeringVectorEnv(VectorEnv):
    """N users steering at once; a subclass says what they do in a round.

    All episodes of a batch share one call of generator and metric a round.

    ``reset(options=...)`` takes ``task_index`` and ``episode_seed``, each int (N,), to play given tasks with given
    noise, and ``reset_mask``, bool (N,), to start only some of the episodes.

    Args:
        num_envs: N.
        suite: name of the tasks' suite.
        generator, metric: a word such as ``tiles:steps=1``, a mapping such as ``{"name": "tiles", "steps": 1}``, or a
            part itself.
        rounds: R.
        reward: a name of ``REWARDS``.
        observe: names of what is observed besides the round.
        named: observe named parts, even where all of them are vectors that could be one.
        judges: further metrics, reported in infos: words or mappings; or a mapping from your names to words,
            mappings or metrics.
        seeds: how many random seeds the model has for goals, first images and those of new prompts (paper, C.1,
            Figure 7): all goals come from the first of them; 0 for as many as there are.
        goal_bank: folder that keeps embeddings of goals and first images, and the images where they are needed, for
            later episodes and runs; or such a bank. None by default.
        studio: makes the images: ``here``, this process; ``predicted``, none, see
            :class:`steer_env.imaging.predicted.PredictedStudio`; or ``ray:count=8``, many processes (docs/ray.md); by a
            word or a mapping; or a function of generator, metric, judges and goal bank that makes a studio.
        device: of the parts whose own options don't say otherwise: cpu, cuda, cuda:1; auto for a GPU if there is one.
            Where images are made in other processes these decide for themselves, and parts are loaded on the CPU.
        dtype: the same of their precision: float32, float16 or bfloat16; auto for half precision of a generator on a
            GPU, and float32 elsewhere and of metrics.
        render_mode: None or ``rgb_array``.
        autoreset_mode: an ``AutoresetMode`` or its value; NEXT_STEP by default, as elsewhere in Gymnasium.
        max_episode_steps: R, as a single environment's spec has it; no other number is taken.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium's own convention)
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    observable: Registry[str] = Registry("observation", OBSERVABLE)

    def __init__(
        self,
        num_envs: int = 1,
        suite: str = "tiles-train-v1",
        generator: Spec[Generator] = "tiles",
        metric: Spec[Metric] = "tile-perceptual",
        rounds: int = 4,
        reward: str = "final",
        observe: Sequence[str] = (),
        named: bool = False,
        judges: Sequence[str | Mapping[str, Any]] | Mapping[str, Spec[Metric]] = (),
        seeds: int = 0,
        goal_bank: str | Path | GoalBank | None = None,
        studio: StudioSpec = "here",
        device: str = AUTO,
        dtype: str = AUTO,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        for table, name in ((REWARDS, reward), *((self.observable, part) for part in observe)):
            table[name]
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"unknown render_mode {render_mode!r}; there are: None, rgb_array")
        if max_episode_steps not in (None, rounds):
            raise ValueError(f"episodes end after rounds={rounds}, not after max_episode_steps={max_episode_steps}")
        num_envs, self.seeds = whole("num_envs", num_envs, 1), whole("seeds", seeds, 0, LAST_SEED)
        self.suite = load_suite(suite)
        modes = Registry("autoreset_mode", {each.value: each for each in AutoresetMode})
        self.autoreset_mode = modes[
            autoreset_mode.value if isinstance(autoreset_mode, AutoresetMode) else autoreset_mode
        ]
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.render_mode = num_envs, render_mode
        self._reward, self._observe = reward, tuple(observe)
        self._where = {"device": "cpu" if is_elsewhere(studio) else device, "dtype": dtype}
        # Parts of one's own don't read them, and what isn't there is refused all the same.
        resolve_device(self._where["device"])
        if dtype != AUTO:
            DTYPES[dtype]
        generator, metric = load_generator(generator, **self._where), load_metric(metric, **self._where)
        if isinstance(goal_bank, str | Path):
            goal_bank = GoalBank(goal_bank) if goal_bank else None
        elif goal_bank is not None:
            own_part("goal_bank", goal_bank, "get", "put")
        made = make_studio(studio, generator, metric, load_judges(judges, **self._where), goal_bank)
        self.dynamics = SteeringDynamics(
            made,
            num_episodes=num_envs,
            rounds=rounds,
            keep_images=render_mode is not None or "image" in observe,
            **self._way(made),
        )
        self.single_action_space = self._action_space()
        self._parts = self._observation_space()
        self.single_observation_space = (None if named else flat_space(self._parts)) or self._parts
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.rngs: list[np.random.Generator] = [np.random.default_rng() for _ in range(num_envs)]
        self._over = np.zeros(num_envs, dtype=bool)
        self.last_outcome: RoundOutcome | None = None

    @property
    def mechanism_id(self) -> str:
        """What traces call the way in which users steer."""
        raise NotImplementedError

    def _way(self, studio: Studio) -> dict[str, Any]:
        """The user, and whatever else the dynamics need to know of the way in which they steer."""
        raise NotImplementedError

    def _action_space(self) -> spaces.Space:
        """Of one episode."""
        raise NotImplementedError

    def _play(self, actions: Any, rows: np.ndarray) -> RoundOutcome:
        """Play one round of the given rows with their actions; the other rows' actions are ignored."""
        raise NotImplementedError

    def _observation_space(self) -> spaces.Dict:
        dynamics = self.dynamics
        optional: dict[str, spaces.Space] = {
            "image": spaces.Box(0, 255, dynamics.generator.image_shape, np.uint8),
            "embedding": spaces.Box(-1, 1, (dynamics.metric.dimensions,), np.float32),
            "latent": spaces.Box(-LATENT_BOUND, LATENT_BOUND, dynamics.generator.latent_shape, np.float32),
        }
        if "conditioning" in self._observe:
            size = pooled(dynamics.generator.encode([""])).shape[1]
            optional["conditioning"] = spaces.Box(-PROMPT_BOUND, PROMPT_BOUND, (size,), np.float32)
        chosen = {name: optional[name] for name in self._observe if name in optional}
        if "history" in self._observe:
            screens = (dynamics.num_rounds, 1 + dynamics.num_proposals)
            chosen["shown"] = spaces.Box(-1, 1, (*screens, dynamics.metric.dimensions), np.float32)
            chosen["chosen"] = spaces.Box(0, 1, screens, np.float32)
            chosen["played"] = spaces.Box(0, 1, screens[:1], np.float32)
        return spaces.Dict({"round": spaces.Discrete(dynamics.num_rounds + 1), **chosen})

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes; see the class for the options.

        Raises:
            ValueError: a mask, list of seeds or of tasks of the wrong size, an unknown option, or a seed or task that
                isn't there.
        """
        options = dict(checked_value("options", options or {}, Mapping))
        rows = self._masked(options.pop("reset_mask", None))
        entries = np.asarray(seed, dtype=object)
        if not entries.ndim:
            seeds = [None if seed is None else whole("seed", seed, 0) + i for i in range(self.num_envs)]
        else:
            seeds = [each if each is None else whole("each seed", each, 0) for each in entries]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{self.num_envs} environments need as many seeds, got {len(seeds)}")
        for row in rows:
            if (own := seeds[row]) is not None:
                self.rngs[row], _ = seeding.np_random(own)
        infos = self._start(rows, options)
        return self.observation(), infos

    def _masked(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.arange(self.num_envs)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"reset_mask must be bool ({self.num_envs},) with at least one True, got {mask!r}")
        return np.flatnonzero(mask)

    def _start(self, rows: np.ndarray, options: dict[str, Any]) -> dict[str, Any]:
        """Begin the given rows' episodes; returns their infos."""
        chosen = {name: options.pop(name, None) for name in ("task_index", "episode_seed")}
        if options:
            raise ValueError(f"unknown reset options {sorted(options)}; there are: {', '.join(chosen)}, reset_mask")
        tasks, seeds = [], []
        for row in rows:
            # Both are drawn even where one is given, so that what is given doesn't shift later draws.
            index, seed = (int(self.rngs[row].integers(n)) for n in (len(self.suite), 2**31 - 1))
            last = len(self.suite) - 1
            tasks.append(self._restricted(self.suite[_entry(chosen, "task_index", row, self.num_envs, index, last)]))
            seeds.append(_entry(chosen, "episode_seed", row, self.num_envs, seed, LAST_SEED))
        self.dynamics.reset(tasks, seeds, rows)
        self._over[rows] = False
        self.last_outcome = None
        start = vector_infos.of_start(self.dynamics, rows, "stayed" in self._parts.spaces)
        return vector_infos.spread(rows, start, self.num_envs)

    def _restricted(self, task: Task) -> Task:
        """The task with seeds that the model has."""
        if not self.seeds:
            return task
        first = FIRST_SEED + int(np.random.default_rng([FIRST_SEED, task.index]).integers(self.seeds))
        return replace(task, goal_seed=FIRST_SEED, initial_seed=first)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play one round of every episode.

        Raises:
            ValueError: a wrong number of actions, or an action out of range.
            RuntimeError: before the first reset, or an episode that is over while autoreset is disabled.
        """
        restarting = self._over & (self.autoreset_mode == AutoresetMode.NEXT_STEP)
        playing, starting = np.flatnonzero(~restarting), np.flatnonzero(restarting)
        rewards, terminated = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=bool)
        infos: dict[str, Any] = {}
        if len(playing):
            before = self.dynamics.similarity[playing]
            outcome = self._play(actions, playing)
            terminated[playing] = outcome.rounds == self.dynamics.num_rounds
            rewards[playing] = self._rewards(outcome, before, terminated[playing])
            infos = vector_infos.spread(playing, vector_infos.of_round(self.dynamics, outcome), self.num_envs)
            self.last_outcome = outcome
        if len(starting):
            infos = vector_infos.merge(infos, self._start(starting, {}), starting)
        self._over = terminated.copy()
        if terminated.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._restart(np.flatnonzero(terminated), infos)
        return self.observation(), rewards, terminated, np.zeros(self.num_envs, dtype=bool), infos

    def _restart(self, rows: np.ndarray, infos: dict[str, Any]) -> dict[str, Any]:
        """Autoreset in the same step: what ended goes into ``final_obs`` and ``final_info``."""
        ended = self.observation()
        final = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            final[row] = row_of(ended, row)
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[rows] = True
        final_info, going_on = vector_infos.of_rows(infos, mask), vector_infos.of_rows(infos, ~mask)
        infos = vector_infos.merge(going_on, self._start(rows, {}), rows)
        return infos | {"final_obs": final, "_final_obs": mask, "final_info": final_info, "_final_info": mask.copy()}

    def _rewards(self, outcome: RoundOutcome, before: np.ndarray, terminated: np.ndarray) -> np.ndarray:
        if self._reward == "increment":
            return outcome.similarity - before
        return np.where(terminated, outcome.similarity - self.dynamics.initial_similarity[outcome.rows], 0.0)

    def observe(self) -> dict[str, Any]:
        """Named parts of the observation of every episode, (N, …) each; nothing in it comes from the goal."""
        dynamics = self.dynamics
        observation = {"round": np.maximum(dynamics.rounds, 0)}
        if "image" in self._observe:
            observation["image"] = dynamics.images.copy()
        if "embedding" in self._observe:
            observation["embedding"] = dynamics.embeddings.clamp(-1, 1).cpu().numpy()
        if "latent" in self._observe:
            observation["latent"] = dynamics.latents.clamp(-LATENT_BOUND, LATENT_BOUND).cpu().numpy()
        if "conditioning" in self._observe:
            observation["conditioning"] = dynamics.prompt_vectors.clamp(-PROMPT_BOUND, PROMPT_BOUND).cpu().numpy()
        if "history" in self._observe:
            observation |= {name: part.clamp(-1, 1).cpu().numpy() for name, part in dynamics.history().items()}
        return observation

    def observation(self) -> Any:
        """The observation of every episode, as the observation space has it: named parts, or flat."""
        parts = self.observe()
        return parts if self.single_observation_space is self._parts else flatten(self._parts, parts)

    def call(self, name: str, *args: Any, **options: Any) -> tuple[Any, ...]:
        """A method's results, or an attribute, once an environment: they share one, and spaces are those of one."""
        value = getattr(self, f"single_{name}" if hasattr(self, f"single_{name}") else name)
        value = value(*args, **options) if callable(value) else value
        return value if name == "render" and value is not None else (value,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """See :meth:`call`."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute that all environments share.

        Raises:
            ValueError: a list or tuple of values that differ, or of another length.
        """
        shared = values if isinstance(values, (list, tuple)) else [values] * self.num_envs
        if len(shared) != self.num_envs or any(value != shared[0] for value in shared):
            raise ValueError(f"{self.num_envs} environments share one {name}: set one value, got {values!r}")
        setattr(self, name, shared[0])

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One frame an episode, uint8 (H, W, 3): goal, current image and proposals; None without a render mode."""
        if self.render_mode is None:
            return None
        dynamics, frames = self.dynamics, []
        outcome = self.last_outcome
        for row in range(self.num_envs):
            shown, choice = None, -1
            if outcome is not None and outcome.shown is not None and row in outcome.rows:
                place = int(np.flatnonzero(outcome.rows == row)[0])
                shown, choice = outcome.shown[place], int(outcome.choices[place])
            frames.append(frame(dynamics.goal_images[row], shown, dynamics.images[row], choice, dynamics.num_proposals))
        return tuple(frames)


def _entry(chosen: dict[str, Any], name: str, row: int, n: int, default: int, most: int) -> int:
    values = chosen[name]
    if values is None:
        return default
    if not isinstance(values, list | tuple | np.ndarray) or len(values) != n:
        raise ValueError(f"{name} must have one entry for each of the {n} environments, got {values!r:.60}")
    return whole(name, values[row], 0, most)
