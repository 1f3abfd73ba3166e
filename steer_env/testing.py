"""Is this part a good one? Checks for generators, metrics, users, prompters, mechanisms and policies.

Each function raises an AssertionError that says what is wrong, and returns nothing. The project's own parts are held
to the same checks in its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from steer_env.policies import Observation, Policy
from steer_env.types import Generator, Human, Mechanism, Metric, Prompter, SteeringHistory, Task


def check_generator(generator: Generator, prompts: tuple[str, ...] = ("", "a", "b"), tolerance: float = 1e-4) -> None:
    """Shapes, range, determinism, and that a batch equals its images made one at a time.

    Args:
        generator: to be checked.
        prompts: a few that differ.
        tolerance: largest difference of a pixel, in [0, 1], between a batch and single images.
    """
    latents = torch.randn(
        len(prompts), *generator.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32
    ).to(generator.device)
    images = generator.generate(latents, generator.encode(prompts))
    assert tuple(images.shape) == (len(prompts), *generator.image_shape), f"images have shape {tuple(images.shape)}"
    assert images.is_floating_point(), f"images must be floating point, not {images.dtype}"
    assert float(images.min()) >= 0, f"a pixel is {float(images.min())}; the range is [0, 1]"
    assert float(images.max()) <= 1, f"a pixel is {float(images.max())}; the range is [0, 1]"
    again = generator.generate(latents, generator.encode(prompts))
    assert torch.equal(images, again), "the same latents and prompts must give the same images"
    for i, prompt in enumerate(prompts):
        single = generator.generate(latents[i : i + 1], generator.encode([prompt]))[0]
        gap = float((single - images[i]).abs().max())
        assert gap <= tolerance, f"image {i} of a batch differs by {gap} from the same image made alone"


def check_metric(metric: Metric, images: torch.Tensor, tolerance: float = 1e-4) -> None:
    """An image is like itself and no more like others, and a batch equals its images embedded one at a time.

    Where similarity is the cosine, embeddings are unit vectors.

    Args:
        metric: to be checked.
        images: float (B, 3, H, W) in [0, 1], all different.
        tolerance: largest difference of a coordinate.
    """
    embeddings = metric.embed(images)
    expected = (len(images), metric.dimensions)
    assert tuple(embeddings.shape) == expected, f"embeddings have shape {tuple(embeddings.shape)}, not {expected}"
    assert embeddings.device == images.device, f"embeddings are on {embeddings.device}, images on {images.device}"
    if getattr(type(metric), "similarity", None) is Metric.similarity:
        norms = embeddings.norm(dim=1)
        assert (norms - 1).abs().max() <= tolerance, f"embeddings must be unit vectors; norms are {norms.tolist()}"
    likeness = metric.similarity(embeddings[:, None], embeddings[None])
    own = likeness.diagonal()
    assert (own - 1).abs().max() <= tolerance, f"an image's similarity to itself must be 1, not {own.tolist()}"
    assert likeness.max() <= 1 + tolerance, f"similarities are at most 1, not {float(likeness.max())}"
    assert (likeness - likeness.T).abs().max() <= tolerance, "similarity must be symmetric"
    singles = torch.cat([metric.embed(image[None]) for image in images])
    gap = float((singles - embeddings).abs().max())
    assert gap <= tolerance, f"embeddings of a batch differ by {gap} from those of single images"


def check_human(human: Human, proposals: int = 2, episodes: int = 64) -> None:
    """Choices are in range, and each depends on its own episode's similarities and draws alone."""
    rng = torch.Generator().manual_seed(0)
    similarities = torch.rand(episodes, 1 + proposals, generator=rng)
    draws = torch.rand(episodes, 1 + proposals, generator=rng)
    persons = torch.rand(episodes, generator=rng)
    choices = human.choose(similarities, draws, persons)
    assert tuple(choices.shape) == (episodes,), f"choices have shape {tuple(choices.shape)}, not ({episodes},)"
    assert choices.dtype == torch.int64, f"choices must be int64, not {choices.dtype}"
    assert bool(((choices >= 0) & (choices <= proposals)).all()), f"choices must be 0 to {proposals}"
    parts = [slice(i, i + 1) for i in range(episodes)]
    singles = torch.cat([human.choose(similarities[part], draws[part], persons[part]) for part in parts])
    assert torch.equal(choices, singles), "a choice must not depend on the other episodes of a batch"


def check_mechanism(mechanism: Mechanism, shape: tuple[int, ...] = (4, 8, 8)) -> None:
    """Shapes, and that proposals keep the mean and the variance of standard normal latents at every scale and round.

    The user picks at random: one whose choices have nothing to do with the images.
    """
    for scale in (0.1, 0.5, 1.0):
        n, k, rounds = 256, 2, 4
        rng = torch.Generator().manual_seed(0)
        scales, latents = torch.full((n,), scale), torch.randn(n, *shape, generator=rng)
        past, choices = torch.zeros(n, rounds, k, *shape), torch.zeros(n, rounds, dtype=torch.int64)
        for played in range(rounds):
            noise = torch.randn(n, k, *shape, generator=rng)
            seen = past.clone(), choices.clone(), torch.zeros(n, rounds, 1 + k, 2)
            history = SteeringHistory(np.arange(n), np.full(n, played), range(n), {}, *seen)
            proposals = mechanism.propose(latents, scales, noise, history)
            assert proposals.shape == noise.shape, f"proposals have shape {tuple(proposals.shape)}, not {noise.shape}"
            where, mean, deviation = f"round {played + 1} at scale {scale}", proposals.mean(), proposals.std()
            assert abs(mean) < 0.02, f"{where}: the proposals' mean is {mean}, not 0"
            assert abs(deviation - 1) < 0.02, f"{where}: the proposals' standard deviation is {deviation}, not 1"
            past[:, played], choices[:, played] = proposals, torch.randint(1 + k, (n,), generator=rng)
            latents = torch.cat([latents[:, None], proposals], dim=1)[torch.arange(n), choices[:, played]]


def check_policy(
    make: Callable[[], Policy],
    rounds: int = 4,
    episodes: int = 16,
    observations: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Actions are in range, and an episode's depend on its own seed and observations alone.

    Args:
        make: gives a fresh policy of the same kind each time.
        rounds: R.
        episodes: how many.
        observations: shape of each vector that the policy sees beside ``round`` and ``stayed``, of one episode, such as
            ``{"embedding": (96,)}``; a :class:`steer_env.policies.networks.NetworkPolicy` says itself.
    """
    policy = make()
    scaled = getattr(policy, "action", "scale") == "scale"
    shapes = getattr(policy, "sees", {}) if observations is None else observations
    rng = np.random.default_rng(0)
    stayed = np.concatenate([np.zeros((1, episodes), int), rng.integers(0, 2, (rounds - 1, episodes))])
    seen = {name: rng.uniform(-1, 1, (rounds, episodes, *shape)).astype(np.float32) for name, shape in shapes.items()}

    def actions(policy: Policy, part: slice) -> np.ndarray:
        policy.start(range(part.start, part.stop))
        n = part.stop - part.start
        shown: list[Observation] = [
            {"round": np.full(n, i), "stayed": stayed[i, part], **{name: own[i, part] for name, own in seen.items()}}
            for i in range(rounds)
        ]
        return np.stack([policy.act(observation) for observation in shown])

    together = actions(policy, slice(0, episodes))
    kind = "scale" if scaled else "action"
    right = together.shape == (rounds, episodes) if scaled else together.shape[:2] == (rounds, episodes)
    assert right, f"act must return one {kind} an episode, got {together.shape[1:]}"
    low = 0 if scaled else -1
    held = bool(((together >= low) & (together <= 1)).all())
    assert held, f"{'mixture scales' if scaled else 'actions'} must lie in [{low}, 1]"
    apart = np.concatenate([actions(make(), slice(i, i + 1)) for i in range(episodes)], axis=1)
    assert np.array_equal(together, apart), f"an episode's {kind}s must not depend on the other episodes of a batch"


def check_prompter(make: Callable[[], Prompter], tasks: Sequence[Task], rounds: int = 4) -> None:
    """Prompts are strings that aren't empty, and depend on the episode's own seed, task and course alone.

    Args:
        make: gives a fresh prompter of the same kind each time.
        tasks: a few that differ.
        rounds: R.
    """
    similarities = np.random.default_rng(0).random((len(tasks), 1 + rounds))

    def courses(prompter: Prompter, part: slice) -> list[list[str]]:
        prompter.start(tasks[part], range(len(tasks))[part])
        written = [[task.prompt] for task in tasks[part]]
        for attempt in range(1, 1 + rounds):
            for row, prompt in zip(written, prompter.write(written, similarities[part, :attempt]), strict=True):
                row.append(prompt)
        return written

    together = courses(make(), slice(0, len(tasks)))
    wrong = [prompt for row in together for prompt in row if not isinstance(prompt, str) or not prompt]
    assert not wrong, f"prompts must be strings that aren't empty, not {wrong[0]!r}"
    apart = [row for i in range(len(tasks)) for row in courses(make(), slice(i, i + 1))]
    assert together == apart, "an episode's prompts must not depend on the other episodes of a batch"
