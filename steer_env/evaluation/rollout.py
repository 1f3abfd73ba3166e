"""Play policies, and record what happened: the only place where traces of simulated users come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from gymnasium.vector import AutoresetMode

from steer_env.envs import ImageSteeringVectorEnv, SteeringVectorEnv, TextSteeringVectorEnv
from steer_env.humans.settings import WinStay
from steer_env.policies import Policy, propensity
from steer_env.policies.networks import NetworkPolicy
from steer_env.policies.stored import PolicyError
from steer_env.traces import SteeringTrace
from steer_env.types import Prompter, RoundOutcome
from steer_env.versions import VERSIONS

_CHOOSERS_OPTIONS = ("human", "mechanism", "proposals", "action")
"""Options of the environment that mean nothing to users who write prompts."""
_WRITERS_OPTIONS = ("choose",)
"""And those that mean nothing to users who choose among images."""
_SAME_SIMILARITY = 0.01
"""Images of one latent and prompt, made on other machines or in other batches, are at least as alike as this."""


def make_env(num_envs: int, **options: Any) -> ImageSteeringVectorEnv:
    """A vector environment as :func:`play` needs it for policies: named parts, no autoreset, scales for buckets."""
    known = image_options(options)
    action = known.pop("action", SCALE)
    known |= {"action": SCALE if action == "bucket" else action, "named": True}
    return ImageSteeringVectorEnv(num_envs, autoreset_mode=AutoresetMode.DISABLED, **known)


SCALE = "scale"
"""The action of policies that don't say what theirs is: the mixture scale."""


def ways(policies: Sequence[Policy]) -> dict[str, list[Policy]]:
    """Policies by the kind of action that they take, each in its order."""
    by_action: dict[str, list[Policy]] = {}
    for policy in policies:
        by_action.setdefault(getattr(policy, "action", SCALE), []).append(policy)
    return by_action


def options_for(policies: Sequence[Policy], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an environment for policies of one kind of action: that, and all that any of them observes."""
    seen = {name for policy in policies for name in getattr(policy, "observe", ())}
    known = {name: value for name, value in options.items() if name not in ("action", "observe")}
    return {**known, "action": getattr(policies[0], "action", SCALE), "observe": sorted(seen)}


def image_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an environment, without what only text steering knows."""
    return {name: value for name, value in options.items() if name not in _WRITERS_OPTIONS}


def make_text_env(num_envs: int, **options: Any) -> TextSteeringVectorEnv:
    """The same for prompters; options that only image steering knows are left out."""
    known = {name: value for name, value in options.items() if name not in _CHOOSERS_OPTIONS}
    return TextSteeringVectorEnv(num_envs, autoreset_mode=AutoresetMode.DISABLED, **known)


def check_fit(policy: Policy | Prompter, options: Mapping[str, Any]) -> None:
    """Can a policy that was trained elsewhere be played in an environment of these options?

    Raises:
        PolicyError: it sees or decides something of another shape, or an action that this mechanism doesn't take.
    """
    if not isinstance(policy, NetworkPolicy):
        return
    try:
        env = make_env(1, **options_for([policy], options))
    except ValueError as error:
        raise PolicyError(f"policy {policy.name!r}: {error}") from error
    policy.check_fit(env.part_shapes, env.single_action_space.shape or ())


Act = Callable[[dict[str, Any], "Recorder"], Any]
"""Actions of all places, from their observations and from what has happened so far."""


class Recorder:
    """What happens in a batch of episodes that play in step, and the traces of it.

    Args:
        env: whose episodes have just begun.

    Attributes:
        outcomes: of the rounds played so far.
        propensities: of the same rounds, float (N,) each, where policies play; see
            :func:`steer_env.policies.propensity`.
    """

    def __init__(self, env: SteeringVectorEnv) -> None:
        self._env = env
        self._similarity, self._judged = env.dynamics.similarity.copy(), env.dynamics.judged()
        self.outcomes: list[RoundOutcome] = []
        self.propensities: list[np.ndarray] = []

    def add(self, outcome: RoundOutcome | None) -> None:
        """A round has been played, by all places."""
        assert outcome is not None
        self.outcomes.append(outcome)

    @property
    def similarities(self) -> np.ndarray:
        """Float (N, 1 + t), to the goal, of the images held at each attempt."""
        return np.stack([self._similarity, *(outcome.similarity for outcome in self.outcomes)], axis=1)

    @property
    def prompts(self) -> list[list[str]]:
        """N × (1 + t), of each attempt, in text steering."""
        first = [[task.prompt] for task in self._env.dynamics.tasks if task]
        return [[*row, *later] for row, later in zip(first, self._later("prompts"), strict=True)]

    @property
    def settings(self) -> dict[str, list[list[Any]]]:
        """The same of what users choose besides prompts, by its name in the environment's ``choose``."""
        env = self._env
        if not isinstance(env, TextSteeringVectorEnv):
            return {}
        first = [env.first_settings(row) for row in range(env.num_envs)]
        return {
            name: [[row[name], *later] for row, later in zip(first, self._later(_SETTINGS[name]), strict=True)]
            for name in env.choose
        }

    def _later(self, name: str) -> list[list[Any]]:
        """A field of each outcome, N × t; nothing where there is none."""
        columns = [values for outcome in self.outcomes if (values := getattr(outcome, name)) is not None]
        columns = [values.tolist() if isinstance(values, np.ndarray) else values for values in columns]
        return [list(row) for row in zip(*columns, strict=True)] or [[] for _ in range(self._env.num_envs)]

    def traces(self, policy: str, training_seed: int = -1, part: slice = slice(None)) -> list[SteeringTrace]:
        """Of episodes that have just ended.

        Args:
            policy: name of the policy, or prompter, that played.
            training_seed: of its training.
            part: which places of the batch.
        """
        env, dynamics = self._env, self._env.dynamics
        parts = {
            "policy": policy,
            "training_seed": training_seed,
            "human": dynamics.human.id,
            "generator": dynamics.generator.id,
            "metric": dynamics.metric.id,
            "mechanism": env.mechanism_id,
            "versions": VERSIONS,
        }
        rows: dict[str, Sequence[Any]] = {
            "episode_seed": dynamics.seeds,
            "similarities": self.similarities.tolist(),
            "images": dynamics.images_made.tolist(),
            "passes": dynamics.passes_made.tolist(),
        }
        if isinstance(env, TextSteeringVectorEnv):
            rows |= {"prompts": self.prompts, **{_SETTINGS[name]: tried for name, tried in self.settings.items()}}
        else:
            rows |= {name: self._later(name) for name in ("scales", "choices")}
            rows["actions"] = [[np.ravel(action).tolist() for action in row] for row in self._later("actions")]
            known = [row if np.isfinite(row).all() else [] for row in np.transpose(self.propensities).tolist()]
            rows |= {"propensities": known} if known else {}
        judged = {
            name: np.stack([first, *(outcome.judged[name] for outcome in self.outcomes)], axis=1).tolist()
            for name, first in self._judged.items()
        }
        return [
            SteeringTrace.of(
                task,
                **parts,
                **{name: values[row] for name, values in rows.items()},
                judged={name: values[row] for name, values in judged.items()},
            )
            for row, task in list(enumerate(dynamics.tasks))[part]
            if task
        ]


_SETTINGS = {"seed": "seeds", "guidance": "guidance"}
"""What users choose besides prompts → the field of outcomes and traces."""


def rounds(
    env: SteeringVectorEnv, task_index: Sequence[int], episode_seeds: Sequence[int], act: Act
) -> Iterator[Recorder]:
    """Play one batch of episodes to their end.

    Args:
        env: N places, without autoreset.
        task_index: N tasks of its suite.
        episode_seeds: N seeds of the episodes' noise.
        act: chooses the actions.

    Yields:
        After each round what has happened so far, always in the same object.
    """
    observation, _ = env.reset(options={"task_index": task_index, "episode_seed": episode_seeds})
    recorder = Recorder(env)
    for _ in range(env.dynamics.num_rounds):
        observation, *_ = env.step(act(observation, recorder))
        recorder.add(env.last_outcome)
        yield recorder


def play(
    env: SteeringVectorEnv,
    players: Sequence[Policy | Prompter],
    task_index: Sequence[int],
    episode_seeds: Sequence[int],
) -> list[SteeringTrace]:
    """Play one batch: every policy, or every prompter, on every task, with common random numbers.

    The episodes of a task share its goal image, its first image and the noise behind its proposals or of its attempts,
    whichever policy plays them; goal and first image are made once for all.

    Args:
        env: from :func:`make_env` for policies, from :func:`make_text_env` for prompters, with as many places as
            players × tasks.
        players: P of them.
        task_index: n tasks of the environment's suite.
        episode_seeds: n seeds of the episodes' noise and of the players' draws.

    Returns:
        P × n traces, player by player.
    """
    n = len(task_index)
    parts = {i: slice(i * n, (i + 1) * n) for i in range(len(players))}
    if isinstance(env, TextSteeringVectorEnv):
        act = _writing(env, cast("Sequence[Prompter]", players), task_index, episode_seeds)
    else:
        act = _choosing(cast("Sequence[Policy]", players), n, episode_seeds)
    *_, recorder = rounds(env, list(task_index) * len(players), list(episode_seeds) * len(players), act)
    return [
        trace
        for i, player in enumerate(players)
        for trace in recorder.traces(player.name, player.training_seed, parts[i])
    ]


def _choosing(policies: Sequence[Policy], n: int, episode_seeds: Sequence[int]) -> Act:
    for policy in policies:
        policy.start(episode_seeds)

    def act(observation: dict[str, Any], recorder: Recorder) -> np.ndarray:
        scales = [
            np.asarray(policy.act({name: values[i * n : (i + 1) * n] for name, values in observation.items()}))
            for i, policy in enumerate(policies)
        ]
        for policy, acted in zip(policies, scales, strict=True):
            # Else what one gives too much another may lack, and all play each other's.
            _check_rows(policy, len(acted) if acted.ndim else -1, n, "actions")
        chances = [propensity(policy, played) for policy, played in zip(policies, scales, strict=True)]
        recorder.propensities.append(np.concatenate(chances))
        acted = np.concatenate(scales)
        return acted[:, None] if acted.ndim == 1 else acted

    return act


def _check_rows(player: Policy | Prompter, given: int, episodes: int, what: str) -> None:
    if given != episodes:
        count = "no list of" if given < 0 else given
        raise PolicyError(f"policy {player.name!r} must give {episodes} {what}, one an episode; it gave {count} {what}")


def _writing(
    env: TextSteeringVectorEnv, prompters: Sequence[Prompter], task_index: Sequence[int], episode_seeds: Sequence[int]
) -> Act:
    n = len(task_index)
    for prompter in prompters:
        prompter.start([env.suite[i] for i in task_index], episode_seeds)
    habits = {name: WinStay(env.setting_spaces[name]) for name in env.choose}
    for habit in habits.values():
        habit.start(list(episode_seeds) * len(prompters))

    def act(_: dict[str, Any], recorder: Recorder) -> Any:
        written, similarities, tried = recorder.prompts, recorder.similarities, recorder.settings
        prompts: list[str] = []
        for i, prompter in enumerate(prompters):
            own = prompter.write(written[i * n : (i + 1) * n], similarities[i * n : (i + 1) * n])
            _check_rows(prompter, len(own) if isinstance(own, list | tuple) else -1, n, "prompts")
            prompts += own
        settings = {name: habit.choose(tried[name], similarities) for name, habit in habits.items()}
        return {"prompt": prompts, **settings} if settings else prompts

    return act


def replay(trace: SteeringTrace, **options: Any) -> list[np.ndarray]:
    """Play an episode again from its trace and draw it.

    Returns:
        One frame a round, uint8 (H, W, 3): the goal, the image held before the round, and the proposals, or the image
        of the new prompt.

    Raises:
        RuntimeError: the parts now behave otherwise than when the trace was made.
    """
    settings = {name: values for name, field in _SETTINGS.items() if (values := getattr(trace, field))}
    options = {"suite": trace.suite, "rounds": len(trace.similarities) - 1, "render_mode": "rgb_array", **options}
    options["choose"] = list(settings)
    options["action"] = trace.mechanism if trace.actions else SCALE
    env: SteeringVectorEnv = make_text_env(1, **options) if trace.prompts else make_env(1, **options)

    def act(_: dict[str, Any], recorder: Recorder) -> Any:
        place = len(recorder.outcomes)
        if trace.actions:
            return np.reshape(np.array(trace.actions[place], dtype=np.float32), env.action_space.shape or ())
        if not trace.prompts:
            return np.array([[trace.scales[place]]])
        action = {name: [values[place + 1]] for name, values in {"prompt": trace.prompts, **settings}.items()}
        return action if settings else action["prompt"]

    frames = []
    for recorder in rounds(env, [trace.task_index], [trace.episode_seed], act):
        outcome, place = recorder.outcomes[-1], len(recorder.outcomes)
        where = f"replaying task {trace.task_index} of {trace.suite}"
        if trace.choices and outcome.choices[0] != trace.choices[place - 1]:
            raise RuntimeError(f"{where}: the user chose otherwise")
        if abs(outcome.similarity[0] - trace.similarities[place]) > _SAME_SIMILARITY:
            raise RuntimeError(f"{where}: another image came of round {place}")
        drawn = env.render()
        assert drawn is not None
        frames.append(drawn[0])
    return frames
