"""Episodes of several evaluations as one."""

from dataclasses import replace

import pytest

from experiments.compare import merge
from tests.steer_env.test_traces import TRACE

WRITTEN = replace(TRACE, policy="text blind", mechanism="text", scales=[], choices=[1, 1], prompts=["a", "b", "c"])


def test_an_episode_that_several_evaluations_played_counts_once() -> None:
    other = replace(TRACE, mechanism="antithetic")
    again = replace(WRITTEN, similarities=[s + 1e-7 for s in WRITTEN.similarities], versions={"torch": "other"})
    found = merge([[TRACE, WRITTEN], [other, again]])
    assert [trace.policy for trace in found] == [
        f"{TRACE.policy}, {TRACE.mechanism}",
        f"{TRACE.policy}, antithetic",
        "text blind",
    ]


def test_prompters_are_told_apart_by_what_else_differs() -> None:
    restricted = replace(WRITTEN, mechanism="text seeds=1", goal_seed=42, similarities=[0.5, 0.6, 0.7])
    assert [trace.policy for trace in merge([[WRITTEN], [restricted]])] == [
        "text blind, text",
        "text blind, text seeds=1",
    ]


def test_evaluations_of_different_models_arent_one() -> None:
    with pytest.raises(ValueError, match="episodes with different generator can't be taken together"):
        merge([[TRACE], [replace(TRACE, generator="another")]])
