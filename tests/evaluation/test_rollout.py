from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from steer_env.evaluation.rollout import make_env, make_text_env, play, replay
from steer_env.evaluation.suites import evaluate
from steer_env.humans import PROMPTERS, load_prompter
from steer_env.policies import RandomBucketPolicy, RandomScalePolicy, TablePolicy
from steer_env.traces import SteeringTrace
from tests.conftest import CountingGenerator

OPTIONS: dict[str, Any] = {"suite": "tiles-val-v1"}


def constant(scale: float, name: str = "constant") -> TablePolicy:
    return TablePolicy.schedule(name, [scale])


def close(left: list[SteeringTrace], right: list[SteeringTrace]) -> None:
    """Equal but for the last digits of similarities, which batches of another size round otherwise."""
    for one, other in zip(left, right, strict=True):
        a, b = asdict(one), asdict(other)
        for name in ("similarities", "judged"):
            np.testing.assert_allclose(*(np.hstack(list(_values(row.pop(name)))) for row in (a, b)), atol=5e-5)
        assert a == b


def _values(found: Any) -> Any:
    return found.values() if isinstance(found, dict) and found else [found if not isinstance(found, dict) else []]


def test_policies_meet_common_random_numbers() -> None:
    """Two policies that play alike have the same episodes to the last proposal, and all start from one image."""
    policies = [constant(0.7, "one"), constant(0.7, "two"), RandomBucketPolicy()]
    (traces,) = evaluate(policies, 4, tasks_per_batch=4, **OPTIONS)
    one, two, random = traces[:4], traces[4:8], traces[8:]
    for a, b, c in zip(one, two, random, strict=True):
        assert a.choices == b.choices
        np.testing.assert_allclose(a.similarities, b.similarities, atol=5e-5)
        assert a.similarities[0] == c.similarities[0]
        assert (a.goal_seed, a.initial_seed, a.episode_seed) == (c.goal_seed, c.initial_seed, c.episode_seed)


def test_an_evaluation_can_be_cut_anywhere() -> None:
    policies = [RandomScalePolicy(), constant(0.5)]
    (whole,) = evaluate(policies, 5, tasks_per_batch=5, judges=["pixel-correlation"], **OPTIONS)
    for per_batch, first in ((2, 0), (3, 2)):
        parts = evaluate(policies, 5, per_batch, first_task=first, judges=["pixel-correlation"], **OPTIONS)
        found = [trace for part in parts for trace in part]
        expected = [trace for trace in whole if trace.task_index >= first]
        key = {"key": lambda trace: (trace.policy, trace.task_index)}
        close(sorted(found, **key), sorted(expected, **key))


def test_goal_and_first_image_are_made_once_for_all_policies(counting_generator: CountingGenerator) -> None:
    env = make_env(6, generator=counting_generator, rounds=1, **OPTIONS)
    play(env, [constant(0.3, "a"), constant(0.6, "b"), constant(0.9, "c")], [0, 1], [5, 6])
    assert len(counting_generator.latents) == 2 * 2 + 6 * 2


def test_a_trace_records_everything_and_replays() -> None:
    (traces,) = evaluate([TablePolicy("constant", np.full((1, 2), 0.6), 4)], 2, tasks_per_batch=2, **OPTIONS)
    trace = traces[1]
    assert (trace.suite, trace.task_index, trace.training_seed) == ("tiles-val-v1", 1, 4)
    assert trace.scales == [0.6] * 4
    assert len(trace.similarities) == 5
    assert trace.versions["torch"]
    assert trace.generator.startswith("tiles-")
    frames = replay(trace)
    assert len(frames) == 4
    assert len({frame.shape for frame in frames}) == 1


def test_users_who_choose_seeds_and_guidance_are_recorded_and_replayed() -> None:
    options = {**OPTIONS, "choose": ["guidance", "seed"]}
    prompters = [load_prompter("attribute"), load_prompter("blind")]
    (traces,) = evaluate(prompters, 6, 6, **options)
    (alone,) = evaluate(prompters[1:], 6, 6, **options)
    close(traces[6:], alone)
    for trace in traces:
        assert trace.mechanism == "text choosing seed and guidance"
        assert len(trace.seeds) == len(trace.guidance) == len(trace.prompts) == 5
        assert (trace.seeds[0], trace.guidance[0]) == (trace.initial_seed, 1.0)
        assert (trace.seeds[1], trace.guidance[1]) == (trace.initial_seed, 1.0), "nothing is better than the first yet"
        kept = np.argmax(trace.similarities[:4]) == 3
        assert (trace.seeds[4] == trace.seeds[3]) or not kept
    assert len({seed for trace in traces for seed in trace.seeds}) > 6 * 2
    assert len(replay(traces[0], **options)) == 4


def test_a_trace_that_the_parts_no_longer_reproduce_is_refused() -> None:
    (traces,) = evaluate([constant(0.6)], 1, tasks_per_batch=1, **OPTIONS)
    forged = replace(traces[0], choices=[(choice + 1) % 3 for choice in traces[0].choices])
    with pytest.raises(RuntimeError, match="replaying task 0 of tiles-val-v1: the user chose otherwise"):
        replay(forged)


def test_a_suite_with_fewer_tasks() -> None:
    with pytest.raises(ValueError, match="'tiles-val-v1' has 2000 tasks, 2001 were asked for"):
        next(evaluate([constant(0.6)], 2001, **OPTIONS))


class TestText:
    """Users who write prompts, beside those who choose images."""

    def test_both_kinds_meet_the_same_goals_first_images_and_noise(self) -> None:
        learned = TablePolicy("constant", np.full((1, 2), 0.7), training_seed=5)
        players = [load_prompter("blind"), learned, load_prompter("attribute")]
        (traces,) = evaluate(players, 4, tasks_per_batch=4, human="softmax", proposals=3, **OPTIONS)
        image, blind, attribute = traces[:4], traces[4:8], traces[8:]
        assert {trace.policy for trace in image} == {"constant"}
        for a, b, c in zip(image, blind, attribute, strict=True):
            assert (a.goal_seed, a.initial_seed, a.episode_seed) == (b.goal_seed, b.initial_seed, b.episode_seed)
            np.testing.assert_allclose([a.similarities[0], c.similarities[0]], b.similarities[0], atol=5e-5)
            assert b.similarities[0] == c.similarities[0]
            assert [(t.human, t.mechanism, t.training_seed) for t in (a, b)] == [
                ("softmax-0.13", "mixture", 5),
                ("writer", "text", -1),
            ]

    def test_a_trace_records_the_prompts_and_replays(self) -> None:
        (traces,) = evaluate(
            [load_prompter("attribute")], 2, tasks_per_batch=2, judges=["pixel-correlation"], **OPTIONS
        )
        trace = traces[1]
        assert (trace.policy, trace.scales, trace.choices) == ("text attribute", [], [])
        assert len(trace.prompts) == len(trace.similarities) == len(trace.judged["pixel-correlation"]) == 5
        assert trace.prompts[0] == trace.prompt
        frames = replay(trace)
        assert len(frames) == 4
        forged = replace(trace, similarities=[value - 0.2 for value in trace.similarities])
        with pytest.raises(RuntimeError, match="replaying task 1 of tiles-val-v1: another image came of round 1"):
            replay(forged)

    @pytest.mark.parametrize("name", PROMPTERS)
    def test_an_evaluation_can_be_cut_anywhere(self, name: str) -> None:
        (whole,) = evaluate([load_prompter(name)], 3, tasks_per_batch=3, **OPTIONS)
        parts = evaluate([load_prompter(name)], 3, tasks_per_batch=2, first_task=1, **OPTIONS)
        close([trace for part in parts for trace in part], whole[1:])

    def test_goal_and_first_image_are_made_once_for_all_prompters(self, counting_generator: CountingGenerator) -> None:
        env = make_text_env(4, generator=counting_generator, rounds=1, **OPTIONS)
        play(env, [load_prompter("blind"), load_prompter("attribute")], [0, 1], [5, 6])
        assert len(counting_generator.latents) == 2 * 2 + 4

    def test_prompters_see_what_came_of_their_own_prompts(self) -> None:
        seen: list[tuple[list[list[str]], np.ndarray]] = []

        class Spy:
            name, training_seed = "spy", -1

            def start(self, tasks: Any, episode_seeds: Any) -> None:
                self.tasks = tasks

            def write(self, prompts: Any, similarities: np.ndarray) -> list[str]:
                seen.append(([list(row) for row in prompts], similarities))
                return [f"{task.prompt}, plain" for task in self.tasks]

        (traces,) = evaluate([load_prompter("blind"), Spy()], 2, tasks_per_batch=2, rounds=2, **OPTIONS)
        prompts, similarities = seen[-1]
        assert prompts == [trace.prompts[:2] for trace in traces[2:]]
        assert similarities.tolist() == [trace.similarities[:2] for trace in traces[2:]]
