"""What crosses the boundaries between the parts: frozen records, and the protocols that the parts fulfil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Conditioning = Mapping[str, "Tensor"]
"""What a generator makes of prompts: named tensors, each with one row a prompt."""
OBSERVATIONS = ("round", "stayed", "embedding", "latent", "conditioning", "shown", "chosen", "played")
"""Parts of an observation that are vectors, or numbers that become one-hot vectors, in the order of joining."""
Picture = tuple[str, int]
"""Prompt, and seed of the latent: an image as goals and first images are defined."""


@dataclass(frozen=True)
class Task:
    """All that defines an episode's problem (paper, section 3).

    Args:
        suite: name of the suite it belongs to.
        index: its place there.
        goal_prompt: prompt of the goal image, never shown to the user or the policy.
        goal_seed: seed of the goal image's latent.
        prompt: the user's prompt.
        initial_seed: seed of the first image's latent.
    """

    suite: str
    index: int
    goal_prompt: str
    goal_seed: int
    prompt: str
    initial_seed: int


class Generator(Protocol):
    """f(z, prompt) → image, deterministic in z (paper, C.2)."""

    id: str
    latent_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    max_batch: int
    device: Any

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Prompts (B) → conditioning with B rows; each distinct prompt is encoded once."""

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """Standard normal latents (B, *latent_shape) → images float (B, 3, H, W) in [0, 1] on the device."""


@runtime_checkable
class GuidedGenerator(Generator, Protocol):
    """A generator with classifier-free guidance, which users may choose (paper, B.4)."""

    guidance_scale: float
    """The choice of a round without a user."""

    def encode_guided(self, prompts: Sequence[str], scales: Sequence[float]) -> Conditioning:
        """As :meth:`encode`, for images with a guidance scale of their own each, float (B,)."""


@runtime_checkable
class PreviewingGenerator(Generator, Protocol):
    """A generator that can show roughly, and more cheaply, what it would make of a latent."""

    def preview(self, steps: int) -> Generator:
        """A generator of previews: ``steps`` denoiser passes an image, no guidance, the same weights and latents."""


@runtime_checkable
class GlimpsingGenerator(Generator, Protocol):
    """A generator whose first computations on a latent can be had without the rest."""

    def glimpse(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents (B, *latent_shape) → activations float (B, C, h, w); the conditioning has B rows."""


def passes(generator: Generator) -> int:
    """Denoiser passes that an image takes: the generator's attribute ``passes``, or 1 where it has none."""
    return int(getattr(generator, "passes", 1))


def takes_latents(generator: Generator) -> bool:
    """Whether images follow latents, which can be mixed: its attribute ``takes_latents``, or True where it has none."""
    return bool(getattr(generator, "takes_latents", True))


@runtime_checkable
class Fingerprinted(Protocol):
    """A generator whose images may be kept from one run to the next, see :mod:`steer_env.imaging.bank`."""

    def fingerprint(self) -> str:
        """Another one whenever images may be others: for other weights, other settings."""


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of unit vectors (…, D) that broadcast, (…)."""
    # A sum of products, not a matrix product: its result doesn't depend on the size of the batch.
    return (a * b).sum(dim=-1).clamp(-1, 1)


class Metric(Protocol):
    """A perceptual similarity of embeddings (paper, B.1): their cosine, for whatever metric is a subclass of this one.

    Metrics of different weights have different ``id``. A metric that computes elsewhere than where the images are says
    so by an attribute ``device``.
    """

    id: str
    dimensions: int

    def embed(self, images: Tensor) -> Tensor:
        """Images float (B, 3, H, W) in [0, 1] → float32 (B, dimensions) on the same device.

        For a cosine these are unit vectors.
        """

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Embeddings (…, D) that broadcast → similarities (…), at most 1, which an image has to itself."""
        return cosine(a, b)


@runtime_checkable
class Alignment(Metric, Protocol):
    """How well an image shows what its prompt says, as the cosine of both's embeddings (paper, Figure 6)."""

    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts (B) → unit vectors float32 (B, dimensions)."""


class Studio(Protocol):
    """The only place where images are made: in this process, or in many on many machines.

    ``metrics`` are those that embed every image, by name; the one that users choose by is ``metric``, and its name is
    empty. ``images`` counts those that were made.
    """

    images: int

    @property
    def generator(self) -> Generator: ...

    @property
    def metric(self) -> Metric: ...

    @property
    def metrics(self) -> Mapping[str, Metric]: ...

    def name_of(self, metric: Metric) -> str:
        """What :meth:`picture` calls a metric; one that the studio doesn't hold embeds only where it is named."""

    def prepare(self, pictures: Sequence[Picture]) -> tuple[Tensor, Conditioning]:
        """Latents float (B, *latent_shape) of B pictures' seeds, and conditioning with B rows of their prompts."""

    def picture(
        self,
        latents: Tensor,
        conditioning: Conditioning,
        place: str,
        rows: Tensor | None = None,
        keep_images: bool = False,
        metrics: Sequence[str] | None = None,
        pictures: Sequence[Picture] | None = None,
        preview_steps: int = 0,
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Make images and embed them.

        Args:
            latents: float (B, *latent_shape); B may be 0.
            conditioning: B rows; any number where ``rows`` are given.
            place: where in an episode, for errors.
            rows: int64 (B,), the row of the conditioning that each latent is for, where many share one.
            keep_images: return the images too.
            metrics: names of those that embed; by default ``metrics``.
            pictures: what the B images are, where they may be found in the goal bank, and shall be kept there.
            preview_steps: denoiser passes of previews by a :class:`PreviewingGenerator`; 0 for images in full.

        Returns:
            By name of each metric, embeddings (B, D); and the images uint8 (B, 3, H, W) in main memory, or None.

        Raises:
            FloatingPointError: latents or embeddings that aren't finite, with the place.
        """


class Human(Protocol):
    """A simulated user."""

    id: str

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        """Pick the image to go on with.

        Args:
            similarities: float (N, 1 + K), similarity to the goal of the current image and of each proposal.
            draws: float (N, 1 + K), uniform in (0, 1), from each episode's own generator, new in each round.
            persons: float (N,), uniform in [0, 1], from each episode's seed, the same in all its rounds: where users
                differ, it says which of them this one is.

        Returns:
            int64 (N,), 0 to keep the current image, k to take proposal k.
        """


@runtime_checkable
class Prompter(Protocol):
    """A simulated user who writes prompts (paper, section 3); its ``training_seed`` is −1, as no training made it."""

    name: str
    training_seed: int

    def start(self, tasks: Sequence[Task], episode_seeds: Sequence[int]) -> None:
        """Begin N episodes; whatever the user draws at random comes from these seeds."""

    def write(self, prompts: Sequence[Sequence[str]], similarities: np.ndarray) -> list[str]:
        """The next prompt of each episode.

        Args:
            prompts: N × t, each episode's so far, the task's first.
            similarities: float (N, t), to the goal of the images that came of them.
        """


@dataclass(frozen=True)
class SteeringHistory:
    """What was offered and chosen before, for mechanisms that learn within an episode.

    Args:
        rows: int64 (N,), the episodes' places in the batch, for mechanisms that keep something of each.
        rounds: int64 (N,), rounds played so far.
        seeds: N, of the episodes' noise; a mechanism that draws more derives streams of its own from them.
        conditioning: the users' prompts as the generator encoded them, N rows.
        proposals: float (N, R, K, *latent_shape); rounds not played yet are zero.
        choices: int64 (N, R); rounds not played yet are zero.
        embeddings: float (N, R, 1 + K, D), of what was on the screen in each round, the current image first; of the
            round to come the current image alone, the rest is zero. They are of the mechanism's own metric if it is a
            :class:`ComparingMechanism`, else of the user's.
    """

    rows: np.ndarray
    rounds: np.ndarray
    seeds: Sequence[int]
    conditioning: Conditioning
    proposals: Tensor
    choices: Tensor
    embeddings: Tensor


class Mechanism(Protocol):
    """q(x' | x, t, s): how proposals are drawn (paper, C.2).

    ``extra_images`` is its cost: how many images it makes in an episode beyond those that are shown.
    """

    id: str
    extra_images: int

    def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
        """Latents of the proposals.

        Args:
            latents: float (N, *latent_shape), of the current images.
            scales: float (N,), mixture scales in [0, 1].
            noise: standard normal (N, K, *latent_shape).
            history: the same episodes' earlier rounds.

        Returns:
            float (N, K, *latent_shape), standard normal in distribution if the latents are.
        """


@runtime_checkable
class ComparingMechanism(Mechanism, Protocol):
    """A mechanism that compares what was shown, by a metric of its own.

    ``extra_passes`` is what its previews cost in an episode, in passes of the denoiser: images that it never finishes,
    and that ``extra_images`` doesn't count.
    """

    metric: Metric
    extra_passes: float


@runtime_checkable
class RememberingMechanism(Mechanism, Protocol):
    """A mechanism that keeps more of earlier rounds than the history says.

    ``memory`` is all of that, tensors with an entry for each place of the batch, so that an episode can go back to an
    earlier round.
    """

    @property
    def memory(self) -> Sequence[Tensor]: ...


@runtime_checkable
class DirectedMechanism(Mechanism, Protocol):
    """A mechanism that takes more than a mixture scale: :meth:`propose` takes actions in place of the scales.

    Its ``id`` is the spec that makes it again, such as ``directions:dimensions=32,leash=0.9``.
    """

    def action_shape(self, proposals: int) -> tuple[int, ...]:
        """Of an episode's action in a round, whose entries lie in [−1, 1]: (K, …)."""

    def decided(self, actions: Tensor) -> Tensor:
        """How much of the proposals a policy decides, float (N,), of actions (N, K, …): see the mechanism."""


@dataclass(frozen=True)
class RoundOutcome:
    """What happened in one round, or attempt of text steering, to the n episodes that played it.

    Args:
        rows: int64 (n,), the episodes' places in the batch.
        rounds: int64 (n,), the round just played, from 1.
        similarities: float64 (n, 1 + K), to the goal: the current image before the choice, then the proposals, or
            the image of the new prompt.
        choices: int64 (n,), 0 if the user stayed, k for proposal k.
        similarity: float64 (n,), of the image that the user goes on with.
        scales: float64 (n,), mixture scales; None in text steering, and where actions are others.
        actions: float32 (n, K, …), of a :class:`DirectedMechanism`; None where there are scales, and in text steering.
        decided: float64 (n,), how much of the proposals these decided.
        judged: by name of each further metric, float64 (n,): that image's similarity under it.
        shown: uint8 (n, 1 + K, 3, H, W), the images in the order of ``similarities``; None unless images are kept.
        prompts, seeds, guidance: n of each, the new prompts, the seeds of their latents and their guidance scales, in
            text steering; None in image steering.
    """

    rows: np.ndarray
    rounds: np.ndarray
    similarities: np.ndarray
    choices: np.ndarray
    similarity: np.ndarray
    scales: np.ndarray | None = None
    judged: Mapping[str, np.ndarray] = field(default_factory=dict)
    shown: np.ndarray | None = None
    prompts: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    guidance: Sequence[float] | None = None
    actions: np.ndarray | None = None
    decided: np.ndarray | None = None
