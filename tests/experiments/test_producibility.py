"""Figure 7: how close few seeds come, and how well they are steered."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import producibility
from experiments.producibility import closest, goals, producibility_report, search_stream, variations
from steer_env.imaging.studio import LocalStudio
from steer_env.proposals import draw_latents
from steer_env.tasks import load_suite
from steer_env.tiles.prompters import BlindPrompter
from steer_env.tiles.tilings import parse
from steer_env.traces import read_traces
from steer_env.types import Generator, Metric
from tests.conftest import CountingGenerator
from tests.markdown import compact

TASKS = load_suite("tiles-test-v1")[:3]


def search(generator: Generator, metric: Metric, goal: torch.Tensor, seeds: list[int] | None, tries: int) -> float:
    prompts = variations(BlindPrompter(), TASKS[:1], 4)[0]
    return closest(LocalStudio(generator, metric), goal, prompts, seeds, tries, search_stream(0, TASKS[0]))


def test_variations_say_the_goal_in_other_words() -> None:
    found = variations(BlindPrompter(), TASKS, 6)
    for task, prompts in zip(TASKS, found, strict=True):
        assert (len(prompts), prompts[0]) == (6, task.goal_prompt)
        assert len(set(prompts)) > 1
        for prompt in prompts:
            np.testing.assert_array_equal(parse(prompt), parse(task.goal_prompt))


def test_a_goal_of_the_generators_own_seed_is_found(generator: Generator, metric: Metric) -> None:
    goal = goals(LocalStudio(generator, metric), TASKS)[0]
    own = TASKS[0].goal_seed
    assert search(generator, metric, goal, [own], 30) == pytest.approx(1, abs=1e-5)
    assert search(generator, metric, goal, [own + 1], 30) < 1 - 1e-4


def test_the_closest_is_the_best_of_all_pairs(counting_generator: CountingGenerator, metric: Metric) -> None:
    goal = goals(LocalStudio(counting_generator, metric), TASKS)[0]
    prompts = list(dict.fromkeys(variations(BlindPrompter(), TASKS[:1], 4)[0]))
    similarities = []
    for prompt in prompts:
        for seed in (7, 8):
            latent = draw_latents([seed], counting_generator.latent_shape)
            image = counting_generator.generate(latent, counting_generator.encode([prompt]))
            similarities.append(float(metric.embed(image)[0] @ goal))
    before = len(counting_generator.latents)
    assert search(counting_generator, metric, goal, [7, 8], 30) == pytest.approx(max(similarities), abs=1e-5)
    assert len(counting_generator.latents) - before == 2 * len(prompts)


@pytest.mark.parametrize("seeds", [[7, 8], None])
def test_there_are_never_more_tries_than_allowed(
    seeds: list[int] | None, counting_generator: CountingGenerator, metric: Metric
) -> None:
    goal = goals(LocalStudio(counting_generator, metric), TASKS)[0]
    before = len(counting_generator.latents)
    search(counting_generator, metric, goal, seeds, 3)
    assert len(counting_generator.latents) - before == 3


def test_the_report_compares_with_all_seeds_goal_by_goal() -> None:
    rng = np.random.default_rng(0)
    free, one = rng.uniform(0.2, 0.6, 40), rng.uniform(0.4, 0.8, 40)
    report = producibility_report({1: one, 0: free}, {1: free, 0: one}, "A lead.", "The closest.")
    page = compact(report.markdown())
    row = next(line for line in page.splitlines() if line.startswith("| 1 |"))
    assert f"| {one.mean():.4f} (" in row
    assert f"| {1 - one.mean():.4f} |" in row
    assert f"| {(one - free).mean():.4f} (" in row
    assert f"| {(free - one).mean():.4f} (" in row
    assert next(line for line in page.splitlines() if line.startswith("| all |")).count("–") == 4


def test_fewer_seeds_are_steered_and_searched(
    tmp_path: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    small = (f"folder={tmp_path}", "seeds=[1,0]", "tasks=4", "goals=3", "variations=2", "tries=3", "env.rounds=1")
    command(producibility.main, *small)
    assert "goals of another generator, drawn tiles" in capsys.readouterr().out
    assert (tmp_path / "figures" / "fewer-seeds-figure-7.png").stat().st_size > 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert [len(result["produced"][n]) for n in ("1", "0")] == [3, 3]
    mechanisms = [read_traces(tmp_path / "traces" / f"{n}-seeds")[0].mechanism for n in (1, 0)]
    assert mechanisms == ["text seeds=1", "text"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["user=random-bucket"], "user must write prompts, such as text:attribute, not random-bucket"),
        (["seeds=[1,1]"], r"the entries of seeds must differ, got \[1, 1\]"),
        (["tries=0"], "tries must be at least 1, got 0"),
        (["goals=2001"], "tasks must be 2 to 2000, the size of tiles-test-v1, got 2001"),
    ],
)
def test_a_search_that_cant_be_is_refused(refuses: Callable[..., None], options: list[str], message: str) -> None:
    refuses(producibility.main, message, *options)
