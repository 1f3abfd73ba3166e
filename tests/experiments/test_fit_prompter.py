from dataclasses import replace

import numpy as np
import pytest

from experiments.fit_prompter import as_measured, beats_first, prompter, word_rates
from steer_env.tasks import load_suite
from tests.steer_env.test_traces import TRACE

GOAL = "one two three four"


def session(person: int, *prompts: str, similarities: tuple[float, ...] = (0.1, 0.2, 0.1)) -> object:
    record = {"goal_prompt": GOAL, "prompts": list(prompts), "similarities": list(similarities), "choices": []}
    return replace(TRACE, human=f"person-{person}", task_index=person, scales=[], **record)


PEOPLE = [
    session(0, "one two red", "one two three red blue", "one two three red blue"),
    session(1, "One red", "two red", "two red", similarities=(0.1, 0.0, 0.3)),
]


def test_words_are_counted_by_rewrite() -> None:
    rates = word_rates(PEOPLE)
    value = lambda row, name: rates.loc[row, name].value  # noqa: E731
    assert value(0, "recall") == pytest.approx(3 / 8)
    assert value(0, "in goal") == pytest.approx(3 / 5)
    assert value(1, "in goal") == pytest.approx(2 / 3), "three and two of three, two, blue"
    assert value(1, "recovered") == pytest.approx(2 / 3), "two, over the three of the first prompts"
    assert value(1, "lost") == pytest.approx(1 / 3)
    assert value(1, "goal words dropped") == pytest.approx(1 / 3)
    assert (value(1, "other words dropped"), value(1, "again"), value(2, "again")) == (0, 0, 1)


def test_attempts_are_compared_with_the_first_and_errors_are_over_people() -> None:
    curve = beats_first(PEOPLE)
    assert curve.shares.tolist() == [0.5, 0.5]
    assert [gain.value for gain in curve.gains] == pytest.approx([0.0, 0.1])
    assert np.sqrt(curve.covariance[0, 0]) == pytest.approx(0.5)
    twice = beats_first([*PEOPLE, *PEOPLE])
    assert np.allclose(twice.covariance, curve.covariance), "a person's sessions aren't independent"


def test_growth_carries_over_from_words_to_factors() -> None:
    """With everything right and nothing lost, a first rewrite recovers the share of what the first prompt named."""
    rates = as_measured(word_rates(PEOPLE), load_suite("tiles-val-v1")[:200])
    assert rates["right"] == 1, "new words are in the goal's prompt as often as first ones, or more often"
    assert rates["lost"] == pytest.approx(1 / 6)
    same, half = prompter(rates, 1.0, 1.0), prompter(rates, 1.0, 0.5)
    assert same.rates.named == pytest.approx(rates["named"])
    assert half.rates.named == pytest.approx([min(1.0, 2 * rate) for rate in same.rates.named]), "as much news"
