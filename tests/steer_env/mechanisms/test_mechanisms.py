from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from steer_env.dynamics import SteeringDynamics
from steer_env.humans.choosers import GreedyHuman
from steer_env.imaging.studio import LocalStudio
from steer_env.mechanisms import MECHANISMS, load_mechanism
from steer_env.mechanisms.bayesian import BayesianSteering
from steer_env.mechanisms.mixtures import Fresh, Mixture
from steer_env.mechanisms.options import BayesianOptions
from steer_env.tasks import load_suite
from steer_env.testing import check_mechanism
from steer_env.types import Conditioning, Generator, Metric, SteeringHistory
from tests.conftest import CountingGenerator

TASKS = load_suite("tiles-val-v1")[:5]


class Points(Metric):
    """Images are points on a circle, and so are embeddings: what the mechanism computes can be written down."""

    id, latent_shape, image_shape, max_batch, device, dimensions = "points", (1,), (1, 1, 1), 5, torch.device("cpu"), 2

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        return {"shift": torch.tensor([[float(len(prompt))] for prompt in prompts])}

    def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
        return (latents + conditioning["shift"])[:, :, None, None]

    def embed(self, images: Tensor) -> Tensor:
        angle = images.flatten(1)[:, 0]
        return torch.stack([angle.cos(), angle.sin()], dim=1)


SMALL: dict[str, dict[str, Any]] = {
    "bayesian": {"pool": 6},
    "learned": {"pool": 6},
    "feedback": {"pool": 6},
    "qeubo": {"candidates": 8},
}
NAMES = [
    pytest.param(name, marks=[pytest.mark.skipif(find_spec("botorch") is None, reason="needs steer-env[qeubo]")])
    if name == "qeubo"
    else name
    for name in MECHANISMS
]


@pytest.mark.parametrize("mechanism", [Mixture(), Fresh()], ids=lambda part: part.id)
def test_conformance(mechanism: Any) -> None:
    check_mechanism(mechanism)


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_does_not_depend_on_its_batch(name: str, generator: Generator, metric: Metric) -> None:
    def choices(tasks: slice) -> np.ndarray:
        studio = LocalStudio(generator, metric)
        mechanism = load_mechanism({"name": name, **SMALL.get(name, {})}, studio)
        played = SteeringDynamics(studio, GreedyHuman(), tasks.stop - tasks.start, mechanism=mechanism)
        played.reset(TASKS[tasks], list(range(tasks.start, tasks.stop)))
        scales = np.full(tasks.stop - tasks.start, 0.5)
        return np.stack([played.step(scales).choices for _ in range(3)], axis=1)

    together = choices(slice(0, 2))
    apart = np.concatenate([choices(slice(i, i + 1)) for i in range(2)])
    assert np.array_equal(together, apart)


@pytest.mark.parametrize("name", NAMES)
def test_the_images_that_an_episode_takes_are_those_made(name: str, generator: Generator, metric: Metric) -> None:
    counting = CountingGenerator(generator)
    counting.glimpse = generator.glimpse  # type: ignore[attr-defined]
    studio = LocalStudio(counting, metric)
    mechanism = load_mechanism({"name": name, **SMALL.get(name, {})}, studio)
    played = SteeringDynamics(studio, GreedyHuman(), 2, rounds=2, mechanism=mechanism)
    played.reset(TASKS[:2], [0, 1])
    counting.latents.clear()
    played.reset(TASKS[:2], [0, 1])
    for scales in ([0.5, 0.5], [0.5, 0.0]):
        played.step(np.array(scales))
    extra = {"bayesian": 6}.get(name, 0)
    assert mechanism.extra_images == extra
    blind = name in (
        "bayesian",
        "learned",
        "feedback",
        "fresh",
    )  # to mixture scales, of which one of 0 makes nothing new
    assert played.images_made.tolist() == [2 + 4 + extra, 2 + 4 + extra - 2 * (not blind)]
    assert len(counting.latents) == played.images_made.sum()


class TestBayesian:
    def test_beliefs_and_offers_are_those_of_bayes_rule(self) -> None:
        """Against a plain loop over hypotheses and candidates, one episode, any choices."""
        points = Points()
        mechanism = BayesianSteering(LocalStudio(points, points), points, BayesianOptions(pool=7, temperature=0.3))
        conditioning, held = points.encode(["abc"]), torch.tensor([[0.4]])
        past, choices = torch.zeros(1, 4, 2, 1), torch.zeros(1, 4, dtype=torch.int64)
        screens = torch.zeros(1, 4, 3, 2)

        def seen(angles: list[float]) -> Tensor:
            """Embeddings of the images of these latents."""
            return points.embed(points.generate(torch.tensor(angles)[:, None], conditioning))

        shown_before: list[float] = []
        weights = np.ones(7)
        current = 0.4
        for place, choice in enumerate([2, 0, 1]):
            screens[0, place, 0] = seen([current])[0]
            history = SteeringHistory(np.array([0]), np.array([place]), [11], conditioning, past, choices, screens)
            offered = mechanism.propose(held, torch.tensor([0.5]), torch.zeros(1, 2, 1), history)[0, :, 0].tolist()
            pool = mechanism._latents[0, :, 0].tolist()
            screens[0, place, 1:] = seen(offered)
            if shown_before:
                likely = [special.softmax([np.cos(x - h) / 0.3 for x in shown_before]) for h in pool]
                weights *= [found[choices[0, place - 1]] for found in likely]
            belief = weights / weights.sum()
            best = np.cos(current - np.array(pool))
            for found in offered:
                worth = [(belief * np.maximum(best, np.cos(c - np.array(pool)))).sum() for c in pool]
                assert found == pytest.approx(pool[int(np.argmax(worth))])
                best = np.maximum(best, np.cos(found - np.array(pool)))
            shown_before = [current, *offered]
            choices[0, place] = choice
            current = shown_before[choice]

    def test_looking_ahead_is_worth_what_the_best_offer_after_each_answer_is_worth(self) -> None:
        """Against plain loops over candidates and answers, one proposal, and no further than the last round."""
        points = Points()
        mechanism = BayesianSteering(
            LocalStudio(points, points), points, BayesianOptions(pool=6, temperature=0.3, ahead=6)
        )
        near = BayesianSteering(LocalStudio(points, points), points, BayesianOptions(pool=6, temperature=0.3))
        conditioning, held = points.encode(["abc"]), torch.tensor([[0.4]])
        empty = torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, dtype=torch.int64)
        screens = torch.zeros(1, 2, 2, 2)
        screens[0, :, 0] = points.embed(points.generate(held, conditioning))
        for place in (0, 1):
            history = SteeringHistory(np.array([0]), np.array([place]), [11], conditioning, *empty, screens)
            given = held, torch.tensor([0.5]), torch.zeros(1, 1, 1), history
            offered, nearest = (float(each.propose(*given)) for each in (mechanism, near))
            if place:
                assert offered == nearest
                continue
            pool = mechanism._latents[0, :, 0].tolist()
            values = []
            for candidate in pool:
                value = 0.0
                for answer in (0, 1):
                    likely = [special.softmax([np.cos(x - h) / 0.3 for x in (0.4, candidate)])[answer] for h in pool]
                    kept = (0.4, candidate)[answer]
                    value += max(
                        sum(p * max(np.cos(kept - h), np.cos(c - h)) for p, h in zip(likely, pool, strict=True))
                        for c in pool
                    )
                values.append(value)
            assert offered == pytest.approx(pool[int(np.argmax(values))])

    def test_it_is_blind_to_the_goal(self, generator: Generator, metric: Metric) -> None:
        """Whatever the goal, the first offer for a prompt is the same."""
        offers = []
        for goal in (0, 1):
            task = type(TASKS[0])(**{**vars(TASKS[0]), "goal_prompt": TASKS[goal].goal_prompt, "goal_seed": goal})
            studio = LocalStudio(generator, metric)
            mechanism = BayesianSteering(studio, metric, BayesianOptions(pool=10))
            played = SteeringDynamics(studio, GreedyHuman(), 1, mechanism=mechanism, keep_images=True)
            played.reset([task], [0])
            offers.append(played.step(np.array([0.5])).shown)
        assert np.array_equal(*offers)

    def test_a_new_episode_forgets_the_last_one(self, generator: Generator, metric: Metric) -> None:
        studio = LocalStudio(generator, metric)
        mechanism = BayesianSteering(studio, metric, BayesianOptions(pool=6))
        played = SteeringDynamics(studio, GreedyHuman(), 1, mechanism=mechanism)
        courses = []
        for _ in range(2):
            played.reset(TASKS[:1], [3])
            courses.append(np.stack([played.step(np.array([0.5])).similarities for _ in range(4)]))
        np.testing.assert_allclose(*courses, atol=1e-5)

    def test_errors(self, generator: Generator, metric: Metric) -> None:
        studio = LocalStudio(generator, metric)
        with pytest.raises(ValueError, match="pool must be from 2 to 8192, got 1"):
            load_mechanism("bayesian:pool=1", studio)
        with pytest.raises(ValueError, match="ahead must be from 0 to 8192, got -1"):
            load_mechanism("bayesian:ahead=-1", studio)
        with pytest.raises(ValueError, match="temperature must be from 1e-06 to 1000000, got 0"):
            load_mechanism("bayesian:temperature=0", studio)
        for wrong in (3, ["a"], None, False):
            with pytest.raises(ValueError, match="metric of mechanism 'bayesian' must be a word or a mapping, got "):
                load_mechanism({"name": "bayesian", "metric": wrong}, studio)
        with pytest.raises(ValueError, match=r"bayesian-2-.* chooses among 2 images: proposals can't be 3"):
            SteeringDynamics(studio, GreedyHuman(), 1, proposals=3, mechanism=load_mechanism("bayesian:pool=2", studio))
        with pytest.raises(ValueError, match="unknown mechanism 'bayes'; did you mean 'bayesian'"):
            load_mechanism("bayes", studio)
