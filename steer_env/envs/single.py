"""One user steering: Gymnasium environments, each the batch of one of its vector environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from typing_extensions import Unpack

from steer_env.dynamics import SteeringDynamics
from steer_env.envs import vector_infos
from steer_env.envs.arguments import ImageArguments, TextArguments, check_arguments
from steer_env.envs.base import SteeringVectorEnv
from steer_env.envs.flat import row_of
from steer_env.envs.text import TextSteeringVectorEnv
from steer_env.envs.vector import ImageSteeringVectorEnv
from steer_env.limits import whole
from steer_env.proposals import BUCKETS, bucket_scales
from steer_env.registry import checked_value
from steer_env.types import DirectedMechanism, Task


class SteeringEnv(gym.Env):
    """The batch of one of a vector environment; a subclass makes it, and is its card.

    Args:
        batch: a vector environment of one, with autoreset disabled.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, batch: SteeringVectorEnv) -> None:
        self._batch, self.render_mode = batch, batch.render_mode
        self._spec: EnvSpec | None = None
        self.action_space = self._batch.single_action_space
        self.observation_space = self._batch.single_observation_space

    @property
    def spec(self) -> EnvSpec | None:
        """As Gymnasium sets it, with the rounds as ``max_episode_steps``: wrappers ask how long an episode may be."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = spec
        if spec:
            spec.max_episode_steps = self.dynamics.num_rounds

    @property
    def dynamics(self) -> SteeringDynamics:
        """The dynamics under this environment, a batch of one."""
        return self._batch.dynamics

    @property
    def task(self) -> Task | None:
        """The task of the current episode; None before the first reset."""
        return self.dynamics.tasks[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; ``options`` may hold an int ``task_index`` and an int ``episode_seed``."""
        super().reset(seed=None if seed is None else whole("seed", seed, 0))
        self._batch.rngs = [self.np_random]
        options = checked_value("options", options or {}, Mapping)
        _, infos = self._batch.reset(options={name: [value] for name, value in options.items()})
        return self._observation(), vector_infos.first(infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play one round; see :meth:`SteeringVectorEnv.step` for the errors."""
        batch = {name: [part] for name, part in action.items()} if isinstance(action, Mapping) else [action]
        _, rewards, terminated, truncated, infos = self._batch.step(batch)
        info = vector_infos.first(infos)
        return self._observation(), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def _observation(self) -> Any:
        return row_of(self._batch.observation(), 0)

    def render(self) -> np.ndarray | None:
        """The round as a picture, uint8 (H, W, 3); None without a render mode."""
        frames = self._batch.render()
        return None if frames is None else frames[0]


class ImageSteeringEnv(SteeringEnv, gym.Env):
    """A user steers a generative model towards a goal image by choosing among proposals.

    ### Description
    The user has a goal image in mind that the model can make, and starts from the image of their own prompt. In
    each round the system proposes K variations of the current image's latent; the user keeps the current image or
    picks one. The agent chooses how large the variations are (paper, section 5 and appendix C.2).

    ### Action space
    ``Discrete(10)``: bucket b is the mixture scale (b + 1) / 10 of Eq. 8. With ``action="scale"``,
    ``Box(0, 1, (1,))``: the mixture scale itself. With ``action="directions"``, ``Box(-1, 1, (K, 1 + d))``: of each
    proposal the mixture scale and coordinates of the noise in a low-frequency basis of the latent, see
    :class:`steer_env.mechanisms.directions.DirectionSteering`; ``directions:dimensions=32,leash=0.9`` sets d and how
    far it may go. With ``action="proposals"``, ``Box(-1, 1, (K, *latent_shape))``: the proposals' latents, in units of
    five standard deviations. Policies of different kinds of action are ranked in tracks of their own, but for the first
    two.

    ### Observation space
    ``Box`` float32: rounds played so far, one-hot of 0 to R (R + 1); whether the user kept the current image in the
    last round, one-hot of no and yes (2); and on request (``observe``), of the current image, its ``embedding`` (D,) in
    [−1, 1] and its ``latent``, flattened, in [−10, 10]; ``conditioning`` (P,), the user's prompt as the generator
    encoded it, means over tokens, in [−100, 100]; and ``history``, which is three parts: ``shown`` (R, 1 + K, D),
    embeddings of all that was on the screen, the current image first, ``chosen`` (R, 1 + K), 1 for the image that the
    user went on with, and ``played`` (R,), 1 for rounds played; zero in the others. Always in this order, flattened.
    With ``named=True``, or where the ``image`` uint8 (3, H, W) is observed, a ``Dict`` of these parts: ``round``
    ``Discrete(R + 1)``, ``stayed`` ``Discrete(2)``, and the others. Nothing observed is computed from the goal.

    ### Rewards
    The improvement, similarity(final, goal) − similarity(initial, goal), at the last round and 0 before; with
    ``reward="increment"``, each round's share of it.

    ### Starting state
    A task drawn from the suite, uniformly; ``reset(options={"task_index": i, "episode_seed": j})`` chooses it.

    ### Episode end
    Terminated after R rounds; never truncated. ``spec.max_episode_steps`` is R, for wrappers that ask. An environment
    made from that spec has Gymnasium's ``TimeLimit``, which sets ``truncated``, too, at the last round.

    ### Arguments
    ``suite``: a name. ``generator``, ``metric``, ``human``, ``mechanism``: a word such as ``tiles:steps=1``, a mapping
    such as ``{"name": "tiles", "steps": 1}``, or a part of your own, made for the protocols of :mod:`steer_env.types`.
    ``rounds`` (4) and ``proposals`` (2). ``action``, ``reward``, ``observe``, ``named``: as above. ``judges``: further
    metrics, reported in ``info`` as ``similarity/NAME``. ``seeds`` (0, all): how many random seeds the model has for
    goals and first images. ``goal_bank`` (None): a folder that keeps them for later runs. ``device`` and
    ``dtype`` (``auto``): of all parts whose own options don't say otherwise; ``auto`` is a GPU where there is one, and
    float32. ``studio`` (``here``): makes the images, see :class:`SteeringVectorEnv`.

    ### Info
    After reset and step alike: ``task_index``, ``episode_seed``, ``similarity`` of the image gone on with,
    ``similarities`` (1 + K) of what was offered, ``choice``, ``improvement`` so far, and ``mixture_scale``, or for
    ``directions`` and ``proposals`` ``decided``: how much of the proposals the action decided. At reset
    nothing has been offered: the first image stands for all, at scale 0.

    ### Clients
    ``gymnasium.make("steer_env:steer_env/ImageSteering-v0")`` imports the package by itself, in processes of others,
    too, which otherwise ask whether it is installed. For many environments take ``make_vec``, below: one process, and
    one call of the model a round. ``AsyncVectorEnv`` needs ``context="spawn"``; processes that are forked after their
    parent has used the model hang. docs/clients.md in the repository says which libraries were tried, and how.

    ### Vectorised form
    ``gymnasium.make_vec("steer_env/ImageSteering-v0", num_envs=N)`` gives :class:`ImageSteeringVectorEnv`; this
    environment is its batch of one.

    ### Version history
    * v0: first version. Before its release, vectors alone came to be observed as one flat ``Box`` instead of named
      parts, and infos to have the same keys at reset and step.
    """

    def __init__(self, **arguments: Unpack[ImageArguments]) -> None:
        check_arguments(ImageArguments, arguments)
        super().__init__(ImageSteeringVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED, **arguments))

    def get_keys_to_action(self) -> dict[str, Any]:
        """For :func:`gymnasium.utils.play.play`: keys 1 to 9 are mixture scales 0.1 to 0.9, and 0 is 1."""
        if isinstance(self.dynamics.mechanism, DirectedMechanism):
            return {}
        if isinstance(self.action_space, spaces.Discrete):
            return {str((bucket + 1) % BUCKETS): bucket for bucket in range(BUCKETS)}
        scales = bucket_scales(np.arange(BUCKETS)).astype(np.float32)
        return {str((bucket + 1) % BUCKETS): scales[bucket : bucket + 1] for bucket in range(BUCKETS)}


class TextSteeringEnv(SteeringEnv, gym.Env):
    """A user steers a generative model towards a goal image by rewriting the prompt.

    ### Description
    The user has a goal image in mind that the model can make, and starts from the image of a first prompt. In each
    attempt the user writes a new prompt; the model makes its image from a fresh latent, and the user goes on from it
    (paper, section 3). The agent is the user.

    ### Action space
    ``Text(max_length)``: the new prompt, in Latin, Greek or Cyrillic letters, digits and punctuation. With ``choose``,
    a ``Dict`` of that ``prompt`` and of what else the user may set (paper, B.3 and B.4): ``seed``, ``Discrete(2³¹)``,
    of the attempt's latent; ``guidance``, ``Box(1, 10, ())``, the scale of classifier-free guidance.

    ### Observation space
    ``Box`` float32: rewritings so far, one-hot of 0 to R (R + 1); and on request (``observe``) ``embedding`` and
    ``latent`` of the current image, as in image steering. With ``named=True``, or where the current image's ``prompt``
    or the ``image`` is observed, a ``Dict`` of these parts. Nothing observed is computed from the goal.

    ### Rewards
    The improvement, similarity(final, goal) − similarity(initial, goal), at the last attempt and 0 before; with
    ``reward="increment"``, each attempt's share of it.

    ### Starting state
    A task drawn from the suite, uniformly; ``reset(options={"task_index": i, "episode_seed": j})`` chooses it.

    ### Episode end
    Terminated after R rewritings, so after R + 1 attempts with the first; never truncated. ``spec.max_episode_steps``
    is R, as in image steering.

    ### Arguments
    ``suite``: a name. ``generator``, ``metric``: a word such as ``tiles:steps=1``, a mapping such as
    ``{"name": "tiles", "steps": 1}``, or a part of your own, made for the protocols of :mod:`steer_env.types`.
    ``rounds`` (4). ``max_length`` (1000): of a prompt, in characters; what the generator's text encoder doesn't read of
    it has no effect. ``choose`` (nothing), ``reward``, ``observe``, ``named``: as above. ``judges``: further metrics,
    reported in ``info`` as ``similarity/NAME``. ``seeds`` (0, all): how many random seeds the model has for
    goals and for images of prompts (paper, C.1). ``goal_bank`` (None): a folder that keeps goals and first images for
    later runs. ``device`` and ``dtype`` (``auto``), ``studio`` (``here``): as in image steering.

    ### Info
    After reset and step alike: ``task_index``, ``episode_seed``, ``similarity`` of the current image, ``similarities``
    (2) of the one before and of it (at reset the first image's, twice), ``improvement`` so far.

    ### Vectorised form
    ``gymnasium.make_vec("steer_env/TextSteering-v0", num_envs=N)`` gives :class:`TextSteeringVectorEnv`; this
    environment is its batch of one.

    ### Version history
    * v0: first version. Before its release, vectors alone came to be observed as one flat ``Box`` instead of named
      parts, and infos to have the same keys at reset and step.
    """

    def __init__(self, **arguments: Unpack[TextArguments]) -> None:
        check_arguments(TextArguments, arguments)
        super().__init__(TextSteeringVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED, **arguments))
