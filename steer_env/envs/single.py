"""One user steering: Gymnasium environments, each the batch of one of its vector environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from steer_env.dynamics import SteeringDynamics
from steer_env.envs import infos
from steer_env.envs.arguments import ImageArguments, TextArguments, check_arguments
from steer_env.envs.shell import SteeringVectorEnv
from steer_env.envs.text import TextSteeringVectorEnv
from steer_env.envs.vector import ImageSteeringVectorEnv
from steer_env.types import Task

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SteeringEnv(gym.Env):
    """The batch of one of a vector environment; a subclass makes it, and is its card.

    Args:
        batch: a vector environment of one, with autoreset disabled.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, batch: SteeringVectorEnv) -> None:
        self._batch, self.render_mode = batch, batch.render_mode
        self.action_space = self._batch.single_action_space
        self.observation_space = self._batch.single_observation_space

    @property
    def dynamics(self) -> SteeringDynamics:
        """The dynamics under this environment, a batch of one."""
        return self._batch.dynamics

    @property
    def task(self) -> Task | None:
        """The task of the current episode; None before the first reset."""
        return self.dynamics.tasks[0]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; ``options`` may hold an int ``task_index`` and an int ``episode_seed``."""
        super().reset(seed=seed)
        self._batch.rngs = [self.np_random]
        _, told = self._batch.reset(options={name: [value] for name, value in (options or {}).items()})
        return self._observation(), infos.first(told)

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Play one round; see :meth:`SteeringVectorEnv.step` for the errors."""
        batch = {name: [part] for name, part in action.items()} if isinstance(action, Mapping) else [action]
        _, rewards, terminated, truncated, told = self._batch.step(batch)
        return self._observation(), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), infos.first(told)

    def _observation(self) -> dict[str, Any]:
        return {name: values[0] for name, values in self._batch.observe().items()}

    def render(self) -> np.ndarray | None:
        """The round as a picture, uint8 (H, W, 3); None without a render mode."""
        frames = self._batch.render()
        return None if frames is None else frames[0]


class ImageSteeringEnv(SteeringEnv):
    """A user steers a generative model towards a goal image by choosing among proposals.

    ### Description
    The user has a goal image in mind that the model can make, and starts from the image of their own prompt. In
    each round the system proposes K variations of the current image's latent; the user keeps the current image or
    picks one. The agent chooses how large the variations are (paper, section 5 and appendix C.2).

    ### Action space
    ``Discrete(10)``: bucket b is the mixture scale (b + 1) / 10 of Eq. 8. With ``action="scale"``,
    ``Box(0, 1, (1,))``: the mixture scale itself.

    ### Observation space
    ``Dict``: ``round``, rounds played so far, 0 to R; ``stayed``, whether the user kept the current image in the
    last round. On request (``observe``), of the current image: ``image`` uint8 (3, H, W), ``embedding`` float32
    (D,) in [−1, 1], ``latent`` float32 in [−10, 10]. Nothing observed is computed from the goal.

    ### Rewards
    The improvement, similarity(final, goal) − similarity(initial, goal), at the last round and 0 before; with
    ``reward="increment"``, each round's share of it.

    ### Starting state
    A task drawn from the suite, uniformly; ``reset(options={"task_index": i, "episode_seed": j})`` chooses it.

    ### Episode end
    Terminated after R rounds; never truncated.

    ### Arguments
    ``suite``: a name. ``generator``, ``metric``, ``human``, ``mechanism``: a word such as ``tiles:steps=1``, a mapping
    such as ``{"name": "tiles", "steps": 1}``, or a part of your own, made for the protocols of :mod:`steer_env.types`.
    ``rounds`` (4) and ``proposals`` (2). ``action``, ``reward``, ``observe``: as above. ``judges``: further metrics,
    reported in ``info`` as ``similarity/NAME``. ``seeds`` (0, all): how many random seeds the model has for goals and
    first images. ``goal_bank`` (None): a folder that keeps goals and first images for later runs. ``device`` and
    ``dtype`` (``auto``): of all parts whose own options don't say otherwise; ``auto`` is a GPU where there is one, and
    float32. ``studio`` (``here``): who makes the images, see :class:`SteeringVectorEnv`.

    ### Info
    After reset: ``task_index``, ``episode_seed``, ``similarity`` of the first image. After a step: ``similarity``
    of the image gone on with, ``similarities`` (1 + K) of what was offered, ``choice``, ``mixture_scale``,
    ``improvement`` so far.

    ### Vectorised form
    ``gymnasium.make_vec("steer_env/ImageSteering-v0", num_envs=N)`` gives :class:`ImageSteeringVectorEnv`; this
    environment is its batch of one.

    ### Version history
    * v0: first version.
    """

    def __init__(self, **arguments: Unpack[ImageArguments]) -> None:
        check_arguments(ImageArguments, arguments)
        super().__init__(ImageSteeringVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED, **arguments))


class TextSteeringEnv(SteeringEnv):
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
    ``Dict``: ``round``, rewritings so far, 0 to R. On request (``observe``): ``prompt``, that of the current image;
    and of the current image ``image``, ``embedding`` and ``latent``, as in image steering. Nothing observed is
    computed from the goal.

    ### Rewards
    The improvement, similarity(final, goal) − similarity(initial, goal), at the last attempt and 0 before; with
    ``reward="increment"``, each attempt's share of it.

    ### Starting state
    A task drawn from the suite, uniformly; ``reset(options={"task_index": i, "episode_seed": j})`` chooses it.

    ### Episode end
    Terminated after R rewritings, so after R + 1 attempts with the first; never truncated.

    ### Arguments
    ``suite``: a name. ``generator``, ``metric``: a word such as ``tiles:steps=1``, a mapping such as
    ``{"name": "tiles", "steps": 1}``, or a part of your own, made for the protocols of :mod:`steer_env.types`.
    ``rounds`` (4). ``max_length`` (1000): of a prompt, in characters; what the generator's text encoder doesn't read of
    it has no effect. ``choose`` (nothing), ``reward``, ``observe``: as above. ``judges``: further metrics, reported in
    ``info`` as ``similarity/NAME``. ``seeds`` (0, all): how many random seeds the model has for goals and for images of
    prompts (paper, C.1). ``goal_bank`` (None): a folder that keeps goals and first images for later runs. ``device``
    and ``dtype`` (``auto``), ``studio`` (``here``): as in image steering.

    ### Info
    After reset: ``task_index``, ``episode_seed``, ``similarity`` of the first image. After a step: ``similarity`` of
    the new image, ``similarities`` (2) of the one before and of the new one, ``improvement`` so far.

    ### Vectorised form
    ``gymnasium.make_vec("steer_env/TextSteering-v0", num_envs=N)`` gives :class:`TextSteeringVectorEnv`; this
    environment is its batch of one.

    ### Version history
    * v0: first version.
    """

    def __init__(self, **arguments: Unpack[TextArguments]) -> None:
        check_arguments(TextArguments, arguments)
        super().__init__(TextSteeringVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED, **arguments))
