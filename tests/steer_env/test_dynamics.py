from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from steer_env.dynamics import SteeringDynamics
from steer_env.humans.choosers import GreedyHuman, NewestImageHuman
from steer_env.imaging.studio import LocalStudio
from steer_env.tasks import load_suite
from steer_env.tiles.tilings import COUNTS
from steer_env.types import Conditioning, Generator, Metric
from tests.conftest import CountingGenerator, CountingMetric

TASKS = load_suite("tiles-val-v1")[:5]
SCALES = np.array([[0.1, 0.5, 0.9, 1.0, 0.3], [0.8, 0.2, 0.4, 0.0, 1.0], [0.5] * 5, [0.7, 0.6, 0.1, 0.2, 0.3]])


def dynamics(generator: Generator, metric: Metric, n: int, **options: object) -> SteeringDynamics:
    return SteeringDynamics(LocalStudio(generator, metric), GreedyHuman(), n, **options)  # type: ignore[arg-type]


def courses(generator: Generator, metric: Metric, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Choices int (4, 5) and similarities float (4, 5, 3) of five episodes, played n at a time."""
    choices, similarities = np.zeros((4, 5), dtype=int), np.zeros((4, 5, 3))
    for start in range(0, 5, n):
        part = slice(start, min(start + n, 5))
        played = dynamics(generator, metric, len(TASKS[part]))
        played.reset(TASKS[part], list(range(part.start, part.stop)))
        for place, scales in enumerate(SCALES):
            outcome = played.step(scales[part])
            choices[place, part], similarities[place, part] = outcome.choices, outcome.similarities
    return choices, similarities


@pytest.fixture(scope="module")
def alone(generator: Generator, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """The courses, one episode and one thread at a time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    played = courses(generator, metric, 1)
    torch.set_num_threads(before)
    return played


@pytest.mark.parametrize(
    ("n", "max_batch", "threads"), [(2, 64, 1), (3, 1, 1), (5, 3, 1), (5, 64, 1), (2, 3, 2), (5, 64, 2)]
)
def test_an_episode_depends_neither_on_its_batch_nor_on_threads(
    generator: Generator, metric: Metric, alone: tuple[np.ndarray, np.ndarray], n: int, max_batch: int, threads: int
) -> None:
    torch.set_num_threads(threads)
    choices, similarities = courses(CountingGenerator(generator, max_batch), metric, n)
    assert np.array_equal(choices, alone[0])
    np.testing.assert_allclose(similarities, alone[1], atol=2e-5)


def test_no_image_is_generated_or_embedded_twice(
    counting_generator: CountingGenerator, counting_metric: CountingMetric
) -> None:
    played = dynamics(counting_generator, counting_metric, 5)
    played.reset(TASKS, range(5))
    for scales in SCALES:
        played.step(scales)
    assert len(counting_generator.latents) == 5 * (2 + 4 * 2) - 2 * np.count_nonzero(SCALES == 0)
    assert counting_metric.images == len(counting_generator.latents)
    assert len(torch.stack(counting_generator.latents).unique(dim=0)) == len(counting_generator.latents)


def test_goal_and_first_image_are_made_once_for_all_episodes_of_a_task(
    counting_generator: CountingGenerator, metric: Metric
) -> None:
    played = dynamics(counting_generator, metric, 6)
    played.reset([TASKS[0], TASKS[1]] * 3, [1, 2] * 3)
    assert len(counting_generator.latents) == 4
    assert np.array_equal(played.similarity[:2], played.similarity[4:])


def test_memory_is_bounded_by_max_batch(generator: Generator, metric: Metric) -> None:
    counting = CountingGenerator(generator, max_batch=4)
    played = dynamics(counting, metric, 5)
    played.reset(TASKS, range(5))
    played.step(SCALES[0])
    assert max(counting.sizes) == 4


def test_the_greedy_human_goes_on_with_the_most_similar_image(generator: Generator, metric: Metric) -> None:
    played = dynamics(generator, metric, 5, keep_images=True)
    played.reset(TASKS, range(5))
    goals = metric.embed(torch.from_numpy(played.goal_images).float() / 255)
    for scales in SCALES:
        before = played.latents.clone()
        outcome = played.step(scales)
        assert np.array_equal(outcome.choices, outcome.similarities.argmax(axis=1))
        assert np.array_equal(outcome.similarity, outcome.similarities.max(axis=1))
        assert np.array_equal(played.stayed, outcome.choices == 0)
        kept = played.stayed
        assert torch.equal(played.latents[kept], before[kept])
        assert outcome.shown is not None
        assert np.array_equal(played.images, outcome.shown[np.arange(5), outcome.choices])
        # An independent measurement of the image that was kept, from its own pixels.
        current = metric.embed(torch.from_numpy(played.images).float() / 255)
        np.testing.assert_allclose((current * goals).sum(1).numpy(), outcome.similarity, atol=0.02)


def test_scale_zero_offers_the_current_image_again(generator: Generator, metric: Metric) -> None:
    played = dynamics(generator, metric, 2)
    played.reset(TASKS[:2], [0, 1])
    outcome = played.step(np.zeros(2))
    np.testing.assert_allclose(outcome.similarities, outcome.similarities[:, :1].repeat(3, 1), atol=1e-5)


def test_episodes_of_one_batch_may_stand_at_different_rounds(generator: Generator, metric: Metric) -> None:
    together, apart = dynamics(generator, metric, 2), dynamics(generator, metric, 1)
    together.reset(TASKS[:2], [0, 1])
    apart.reset(TASKS[1:2], [1])
    together.step(np.array([0.5]), rows=np.array([0]))
    together.step(np.array([0.7]), rows=np.array([0]))
    expected = [apart.step(np.array([0.6])), apart.step(np.array([0.4]))]
    found = [together.step(np.array([0.9, 0.6])), together.step(np.array([0.4]), rows=np.array([1]))]
    assert found[0].rounds.tolist() == [3, 1]
    assert found[0].choices[1] == expected[0].choices[0]
    assert found[1].choices[0] == expected[1].choices[0]
    np.testing.assert_allclose(found[1].similarities[0], expected[1].similarities[0], atol=2e-5)


def test_mechanisms_receive_what_was_offered_and_chosen(generator: Generator, metric: Metric) -> None:
    from steer_env.mechanisms.mixtures import Mixture
    from steer_env.types import SteeringHistory

    seen: list[SteeringHistory] = []

    class Remembering(Mixture):
        def propose(self, latents: Tensor, scales: Tensor, noise: Tensor, history: SteeringHistory) -> Tensor:
            seen.append(history)
            return super().propose(latents, scales, noise, history)

    played = dynamics(generator, metric, 2, mechanism=Remembering())
    played.reset(TASKS[:2], [0, 1])
    outcomes = [played.step(scales[:2]) for scales in SCALES[:3]]
    last = seen[-1]
    assert last.rounds.tolist() == [2, 2]
    assert last.choices[:, :2].tolist() == np.stack([o.choices for o in outcomes[:2]], axis=1).tolist()
    assert last.proposals.shape == (2, 4, 2, *generator.latent_shape)
    assert last.proposals[:, :2].abs().sum() > 0
    assert last.proposals[:, 2:].abs().sum() == 0


@pytest.mark.parametrize(("rounds", "proposals"), [(1, 1), (6, 3)])
def test_rounds_and_proposals_are_configurable(
    counting_generator: CountingGenerator, metric: Metric, rounds: int, proposals: int
) -> None:
    played = dynamics(counting_generator, metric, 2, rounds=rounds, proposals=proposals)
    played.reset(TASKS[:2], [0, 1])
    for _ in range(rounds):
        assert played.step(np.full(2, 0.5)).similarities.shape == (2, 1 + proposals)
    assert len(counting_generator.latents) == 2 * (2 + rounds * proposals)
    with pytest.raises(RuntimeError, match=f"over after {rounds} rounds"):
        played.step(np.full(2, 0.5))


class TestErrors:
    def test_step_before_reset(self, generator: Generator, metric: Metric) -> None:
        with pytest.raises(RuntimeError, match="call reset before step"):
            dynamics(generator, metric, 1).step(np.array([0.5]))

    def test_a_scale_out_of_range_costs_no_image(self, counting_generator: CountingGenerator, metric: Metric) -> None:
        played = dynamics(counting_generator, metric, 2)
        played.reset(TASKS[:2], [0, 1])
        made = len(counting_generator.latents)
        with pytest.raises(ValueError, match=r"mixture scale 1.5 is out of range"):
            played.step(np.array([0.5, 1.5]))
        assert len(counting_generator.latents) == made
        assert played.rounds.tolist() == [0, 0], "nothing is lost"

    def test_batches_of_the_wrong_size(self, generator: Generator, metric: Metric) -> None:
        played = dynamics(generator, metric, 2)
        with pytest.raises(ValueError, match="2 episodes need as many tasks and seeds, got 1 and 2"):
            played.reset(TASKS[:1], [0, 1])
        played.reset(TASKS[:2], [0, 1])
        with pytest.raises(ValueError, match="2 episodes need 2 mixture scales"):
            played.step(np.array([0.5]))

    @pytest.mark.parametrize("name", ["num_episodes", "rounds", "proposals"])
    def test_counts_below_one(self, generator: Generator, metric: Metric, name: str) -> None:
        options = {"num_episodes": 1, "rounds": 4, "proposals": 2, name: 0}
        with pytest.raises(ValueError, match=rf"{name} must be (at least 1|from 1 to 1000), got 0"):
            SteeringDynamics(LocalStudio(generator, metric), GreedyHuman(), **options)

    def test_embeddings_that_are_not_finite_are_reported_with_round_and_task(self, generator: Generator) -> None:
        class Broken(Metric):
            id, dimensions, calls = "broken", 2, 0

            def embed(self, images: Tensor) -> Tensor:
                self.calls += 1
                return torch.full((len(images), 2), torch.nan if self.calls > 2 else 0.7)

        played = dynamics(generator, Broken(), 1)
        played.reset(TASKS[:1], [0])
        played.step(np.array([0.5]))
        with pytest.raises(FloatingPointError, match=r"embeddings that are not finite in round 2 .*tiles-val-v1\[0\]"):
            played.step(np.array([0.5]))

    def test_latents_that_are_not_finite_are_reported(self, generator: Generator, metric: Metric) -> None:
        played = dynamics(generator, metric, 1)
        played.reset(TASKS[:1], [0])
        played.latents[:] = torch.nan
        with pytest.raises(FloatingPointError, match=r"latents that are not finite in round 1"):
            played.step(np.array([0.5]))


def test_the_goal_changes_similarities_but_not_what_is_offered(generator: Generator, metric: Metric) -> None:
    """Two goals, the same user prompt and seeds: the first proposals are the same images."""
    other = replace(TASKS[0], goal_prompt=TASKS[1].goal_prompt, goal_seed=TASKS[1].goal_seed)
    outcomes = []
    for task in (TASKS[0], other):
        played = dynamics(generator, metric, 1, keep_images=True)
        played.reset([task], [0])
        outcomes.append(played.step(np.array([0.5])))
    assert outcomes[0].shown is not None
    assert outcomes[1].shown is not None
    assert np.array_equal(outcomes[0].shown, outcomes[1].shown)
    assert not np.allclose(outcomes[0].similarities, outcomes[1].similarities)


def test_conditioning_rows_follow_their_episodes(generator: Generator, metric: Metric) -> None:
    """Each episode's proposals are made for its own prompt: a batch of one confirms each of three."""
    prompts: list[Conditioning] = []

    class Spy(CountingGenerator):
        def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
            prompts.append(conditioning)
            return super().generate(latents, conditioning)

    played = dynamics(Spy(generator), metric, 3)
    played.reset(TASKS[:3], [0, 1, 2])
    played.step(np.full(3, 0.5))
    expected = generator.encode([task.prompt for task in TASKS[:3] for _ in range(2)])["prompt_embeds"]
    assert torch.equal(prompts[-1]["prompt_embeds"], expected)


PROMPTS = [
    [f"{size} {colour} star" for colour in ("red", "blue", "pink", "white", "green")] for size in (*COUNTS, "large")
]


class TestRewrite:
    """Text steering on the same dynamics."""

    @staticmethod
    def writers(generator: Generator, metric: Metric, n: int, **options: object) -> SteeringDynamics:
        studio = LocalStudio(generator, metric, options.pop("judges", None))  # type: ignore[arg-type]
        return SteeringDynamics(studio, NewestImageHuman(), n, proposals=1, **options)  # type: ignore[arg-type]

    def test_the_image_of_the_new_prompt_replaces_the_current_one(self, generator: Generator, metric: Metric) -> None:
        played = self.writers(generator, metric, 5, keep_images=True)
        played.reset(TASKS, range(5))
        assert played.prompts == [task.prompt for task in TASKS]
        goals = metric.embed(torch.from_numpy(played.goal_images).float() / 255)
        for place, prompts in enumerate(PROMPTS):
            before, images = played.similarity.copy(), played.images.copy()
            outcome = played.rewrite(prompts)
            assert outcome.rounds.tolist() == [place + 1] * 5
            assert outcome.similarities.shape == (5, 2)
            assert np.array_equal(outcome.similarities[:, 0], before)
            assert np.array_equal(outcome.similarities[:, 1], played.similarity)
            assert outcome.scales is None
            assert played.prompts == prompts
            assert outcome.shown is not None
            assert np.array_equal(outcome.shown[:, 0], images)
            # Independent of the dynamics: the image is the generator's, for this prompt and the latent held now.
            made = generator.generate(played.latents, generator.encode(prompts))
            np.testing.assert_allclose(made.numpy(), played.images / 255, atol=0.01)
            np.testing.assert_allclose((metric.embed(made) * goals).sum(1).numpy(), outcome.similarity, atol=0.02)
        with pytest.raises(RuntimeError, match="over after 4 rounds"):
            played.rewrite(prompts)

    @pytest.mark.parametrize("max_batch", [2, 64])
    def test_an_episode_does_not_depend_on_its_batch(
        self, generator: Generator, metric: Metric, max_batch: int
    ) -> None:
        together = self.writers(CountingGenerator(generator, max_batch), metric, 5)
        together.reset(TASKS, range(5))
        found = np.stack([together.rewrite(prompts).similarity for prompts in PROMPTS])
        for row in range(5):
            alone = self.writers(generator, metric, 1)
            alone.reset(TASKS[row : row + 1], [row])
            expected = [alone.rewrite([prompts[row]]).similarity[0] for prompts in PROMPTS]
            np.testing.assert_allclose(found[:, row], expected, atol=2e-5)
            assert torch.equal(together.latents[row], alone.latents[0])

    def test_no_image_is_made_twice_and_every_latent_is_fresh(
        self, counting_generator: CountingGenerator, counting_metric: CountingMetric
    ) -> None:
        played = self.writers(counting_generator, counting_metric, 5)
        played.reset(TASKS, range(5))
        for _ in PROMPTS:
            played.rewrite(PROMPTS[0])
        assert counting_metric.images == len(counting_generator.latents) == 5 * (2 + 4)
        assert len(torch.stack(counting_generator.latents).unique(dim=0)) == 5 * (2 + 4)

    def test_judges_measure_the_new_image(self, generator: Generator, metric: Metric) -> None:
        played = self.writers(generator, metric, 2, judges={"again": metric})
        played.reset(TASKS[:2], [0, 1])
        outcome = played.rewrite(PROMPTS[0][:2])
        np.testing.assert_allclose(outcome.judged["again"], outcome.similarity, atol=1e-7)

    def test_where_the_user_stays_prompt_and_image_stay_too(self, generator: Generator, metric: Metric) -> None:
        """A user who goes back to the better image goes on from its prompt: the next proposals are made for it."""
        played = dynamics(generator, metric, 5)
        played.reset(TASKS, range(5))
        outcome = played.rewrite(PROMPTS[0])
        expected = [new if c else task.prompt for new, c, task in zip(PROMPTS[0], outcome.choices, TASKS, strict=True)]
        assert played.prompts == expected
        prompts: list[Conditioning] = []

        class Spy(CountingGenerator):
            def generate(self, latents: Tensor, conditioning: Conditioning) -> Tensor:
                prompts.append(conditioning)
                return super().generate(latents, conditioning)

        played.studio = LocalStudio(Spy(generator), metric)
        played.step(SCALES[0])
        offered = generator.encode([prompt for prompt in expected for _ in range(2)])
        assert torch.equal(prompts[0]["prompt_embeds"], offered["prompt_embeds"])

    def test_errors_cost_no_image(self, counting_generator: CountingGenerator, metric: Metric) -> None:
        played = self.writers(counting_generator, metric, 2)
        with pytest.raises(RuntimeError, match="call reset before"):
            played.rewrite(["a", "b"])
        played.reset(TASKS[:2], [0, 1])
        made = len(counting_generator.latents)
        with pytest.raises(ValueError, match="2 episodes need 2 prompts"):
            played.rewrite(["red stars"])
        with pytest.raises(ValueError, match="prompts are strings, got 3"):
            played.rewrite(["red stars", 3])  # type: ignore[list-item]
        assert len(counting_generator.latents) == made
        assert played.rounds.tolist() == [0, 0]


class _Remembering(GreedyHuman):
    """Keeps which persons chose, round by round."""

    def __init__(self) -> None:
        self.persons: list[Tensor] = []

    def choose(self, similarities: Tensor, draws: Tensor, persons: Tensor) -> Tensor:
        self.persons.append(persons.clone())
        return super().choose(similarities, draws, persons)


def test_an_episode_has_one_user_whom_its_seed_decides(generator: Generator, metric: Metric) -> None:
    human = _Remembering()
    played = SteeringDynamics(LocalStudio(generator, metric), human, 3, rounds=2)
    played.reset(TASKS[:3], [7, 8, 7])
    played.step(np.full(3, 0.5))
    played.step(np.full(3, 0.5))
    first, second = human.persons
    assert torch.equal(first, second), "the same in all rounds"
    assert first[0] == first[2] != first[1]
    played.reset(TASKS[3:4], [8], rows=np.array([2]))
    played.step(np.array([0.5]), rows=np.array([2]))
    assert human.persons[-1].tolist() == [first[1]], "whatever its place in the batch"
