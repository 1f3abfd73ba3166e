from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from steer_env.humans import PROMPTERS, load_prompter
from steer_env.tasks import load_suite
from steer_env.testing import check_prompter
from steer_env.tiles import tilings
from steer_env.types import Task

TASKS = load_suite("tiles-val-v1")[:60]


def course(name: str, tasks: Sequence[Task] = TASKS, similarities: np.ndarray | None = None, **options: float) -> list:
    """Prompts of each task, five each; similarities float (N, 5), rising by default."""
    seen = np.tile(np.arange(5) / 5, (len(tasks), 1)) if similarities is None else similarities
    prompter = load_prompter(name, **options)
    prompter.start(tasks, range(len(tasks)))
    prompts = [[task.prompt] for task in tasks]
    for attempt in range(1, 5):
        for row, prompt in zip(prompts, prompter.write(prompts, seen[:, :attempt]), strict=True):
            row.append(prompt)
    return prompts


def factors(prompt: str) -> np.ndarray:
    return tilings.parse(prompt)


@pytest.mark.parametrize("name", PROMPTERS)
def test_every_prompter_passes_the_check(name: str) -> None:
    check_prompter(lambda: load_prompter(name), TASKS[:8])


@pytest.mark.parametrize("name", ["blind", "feedback"])
def test_who_does_not_see_the_goal_writes_the_same_for_another(name: str) -> None:
    others = [replace(task, goal_prompt="of no tiling at all", goal_seed=7) for task in TASKS]
    assert course(name, others) == course(name)


def test_blind_says_the_same_in_other_words_whatever_it_leads_to() -> None:
    prompts = course("blind")
    for row in prompts:
        assert all(factors(prompt).tolist() == factors(row[0]).tolist() for prompt in row)
    assert np.mean([len(set(row)) for row in prompts]) > 2
    falling = np.tile(-np.arange(5) / 5, (len(TASKS), 1))
    assert course("blind", similarities=falling) == prompts


def test_attribute_names_one_more_of_the_goal_in_each_attempt_and_keeps_the_rest() -> None:
    for task, row in zip(TASKS, course("attribute", mistake_rate=0), strict=True):
        goal = factors(task.goal_prompt)
        for before, after in pairwise(row):
            old, new = tilings.words_of(before), tilings.words_of(after)
            added = new.keys() - old.keys()
            assert len(added) == min(1, len(tilings.FACTORS) - len(old))
            assert {factor: new[factor] for factor in old} == old, "in the user's own words"
            for factor in added:
                assert factors(after)[factor] == goal[factor]


def test_attribute_errs_at_its_rate_and_about_colours_alone() -> None:
    wrong, colours = 0, 0
    for task, row in zip(TASKS, course("attribute", mistake_rate=0.5), strict=True):
        goal, said = factors(task.goal_prompt), factors(row[-1])
        added = np.flatnonzero((said != tilings.UNNAMED) & (factors(row[0]) == tilings.UNNAMED))
        for factor in added:
            coloured = factor in (tilings.COLOUR, tilings.ALTERNATE, tilings.BACKGROUND, tilings.BORDER)
            if coloured and goal[factor] != tilings.NONE:
                colours += 1
                wrong += said[factor] != goal[factor]
            else:
                assert said[factor] == goal[factor]
    assert 0.35 < wrong / colours < 0.65


def test_attribute_plays_a_complete_prompt_again() -> None:
    complete = [replace(task, prompt=task.goal_prompt) for task in TASKS[:3]]
    assert course("attribute", complete) == [[task.goal_prompt] * 5 for task in complete]


def test_feedback_changes_one_attribute_of_its_best_prompt() -> None:
    similarities = np.random.default_rng(0).random((len(TASKS), 5))
    for row, seen in zip(course("feedback", similarities=similarities, mistake_rate=0), similarities, strict=True):
        for attempt in range(1, 5):
            best, new = (tilings.words_of(p) for p in (row[int(seen[:attempt].argmax())], row[attempt]))
            assert len([factor for factor in best.keys() | new.keys() if best.get(factor) != new.get(factor)]) == 1


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown prompter 'atribute'; did you mean 'attribute'"):
        load_prompter("atribute")
    with pytest.raises(ValueError, match=r"synonym_rate must be from 0 to 1, got -1"):
        load_prompter("blind", synonym_rate=-1)
    with pytest.raises(ValueError, match="unknown word for a tiling 'photograph'"):
        course("blind", [replace(TASKS[0], prompt="photograph")])


class TestPerson:
    def test_what_is_written_changes_at_the_rates_that_are_given(self) -> None:
        rates = {"named": [0.5, 0.0], "right": 1.0, "lost": 0.0, "taken_back": 0.0, "synonym_rate": 0.0}
        for task, row in zip(TASKS, course("person", **rates), strict=True):
            first, second, third = (tilings.words_of(prompt) for prompt in row[:3])
            goal = factors(task.goal_prompt)
            added = second.keys() - first.keys()
            assert all(factors(row[1])[factor] == goal[factor] for factor in added)
            assert {factor: second[factor] for factor in first} == first
            assert third == second
        opened = [len(tilings.FACTORS) - len(tilings.words_of(task.prompt)) for task in TASKS]
        named = [len(tilings.words_of(row[1])) - len(tilings.words_of(row[0])) for row in course("person", **rates)]
        assert sum(named) / sum(opened) == pytest.approx(0.5, abs=0.1)

    def test_people_err_forget_and_go_on_from_the_last_prompt(self) -> None:
        wrong = course("person", named=[1.0], right=0.0, lost=0.0, taken_back=0.0)
        for task, row in zip(TASKS, wrong, strict=True):
            added = tilings.words_of(row[1]).keys() - tilings.words_of(row[0]).keys()
            assert not any(factors(row[1])[factor] == factors(task.goal_prompt)[factor] for factor in added)
        forgotten = course("person", named=[0.0], lost=1.0, taken_back=1.0)
        assert all(row[1] == row[0] for row in forgotten), "a prompt is never empty"
        falling = np.tile(-np.arange(5) / 5, (len(TASKS), 1))
        assert course("person", similarities=falling) == course("person"), "whatever came of it"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"named": []}, r"named must have at least 1 entries, got \[\]"),
            ({"named": [1.2]}, "each of named must be from 0 to 1, got 1.2"),
            ({"right": -0.1}, "right must be from 0 to 1, got -0.1"),
            ({"lost": 2.0}, "lost must be from 0 to 1, got 2"),
        ],
    )
    def test_rates_are_probabilities(self, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            load_prompter("person", **options)
