import json
from pathlib import Path

import numpy as np
import pytest

from agents.files import RunExistsError
from agents.live import POSTERIOR, LiveLearner, replay
from steer_env.traces import SteeringTrace, read_traces, write_traces
from tests.agents.test_thompson import episode

THOMPSON = {"kind": "thompson", "cells": "round-stayed", "prior_variance": 1.0}
PLANNING = {"kind": "planning", "credit": "increment", "pooling": True, "covariate": True, "spread": "root"}
ROUNDS, SESSIONS, AT_ONCE = 4, 500, 8


def play(learner: LiveLearner, session: str, rng: np.random.Generator) -> SteeringTrace:
    """A bot's session with what the learner says now: larger scales gain more, early on."""
    policy, stayed, scales, choices, chances = learner.begin(session), 0, [], [], []
    for place in range(ROUNDS):
        scale = policy.act({"round": np.array([place]), "stayed": np.array([stayed])})
        chances.append(policy.propensity(scale)[0])
        scales.append(float(scale[0]))
        choices.append(int(rng.integers(3)))
        stayed = int(choices[-1] == 0)
    gain = 0.05 * (scales[0] - scales[-1]) + 0.02 * rng.standard_normal()
    assert learner.agent.settings["kind"] == "planning" or all(0 < chance <= 1 for chance in chances)
    return episode(scales, choices, gain)


@pytest.mark.parametrize("settings", [THOMPSON, PLANNING], ids=lambda each: each["kind"])
def test_what_is_learned_live_equals_the_replay_of_the_same_sessions(settings: dict, tmp_path: Path) -> None:
    """Several sessions at once, a server killed and started again now and then, answers that come twice."""
    sessions = SESSIONS if settings is THOMPSON else 60
    rng, learner = np.random.default_rng(0), LiveLearner(tmp_path / "live", settings)
    open_now, finished = [], []
    for number in range(sessions):
        open_now.append((f"session {number}", play(learner, f"session {number}", rng)))
        while len(open_now) > AT_ONCE or (number == sessions - 1 and open_now):
            name, trace = open_now.pop(int(rng.integers(len(open_now))))
            assert learner.observe(name, trace)
            finished.append(trace)
            if rng.random() < 0.05:
                learner = LiveLearner(tmp_path / "live", settings)
            if rng.random() < 0.2:
                assert not learner.observe(name, trace), "counted once"
    write_traces(finished, tmp_path / "sessions.parquet")
    replayed = replay(read_traces(tmp_path / "sessions.parquet"), settings)
    assert len(learner.observed) == sessions
    assert learner.agent.state() == replayed.state()
    assert (learner.policy("p").scales == replayed.policy("p").scales).all()
    again = LiveLearner(tmp_path / "live", settings)
    assert again.agent.state() == replayed.state(), "saved after each"


def test_it_learns(tmp_path: Path) -> None:
    rng, learner = np.random.default_rng(1), LiveLearner(tmp_path, THOMPSON | {"prior_variance": 0.001})
    for number in range(400):
        learner.observe(str(number), play(learner, str(number), rng))
    scales = learner.policy("p").scales
    assert scales[0, 0] > 0.6 > 0.5 > scales[-1].mean()


def test_sessions_draw_for_themselves(tmp_path: Path) -> None:
    learner = LiveLearner(tmp_path, THOMPSON)
    one, other, again = (learner.begin(name).scales for name in ("a", "b", "a"))
    assert (one == again).all()
    assert (one != other).any()


def test_another_bandits_posterior_is_refused(tmp_path: Path) -> None:
    learner = LiveLearner(tmp_path, THOMPSON)
    learner.observe("a", episode([0.5] * 4, [0, 1, 2, 0], 0.1))
    with pytest.raises(RunExistsError, match="holds a learner with"):
        LiveLearner(tmp_path, THOMPSON | {"cells": "round"})
    assert json.loads((tmp_path / POSTERIOR).read_text())["sessions"] == ["a"]


@pytest.mark.parametrize(
    ("scales", "gain", "message"),
    [
        ([0.5] * 3, 0.1, "a session of 3 rounds, where 4 are learned"),
        ([0.5, 0.5, 0.55, 0.5], 0.1, "learns from the scales"),
        ([0.5] * 4, float("nan"), "needs the similarity to the goal of every attempt"),
    ],
)
def test_sessions_that_nothing_can_be_learned_from(
    scales: list[float], gain: float, message: str, tmp_path: Path
) -> None:
    learner = LiveLearner(tmp_path, THOMPSON)
    with pytest.raises(ValueError, match=message):
        learner.observe("a", episode(scales, [0] * len(scales), gain))
    assert not learner.observed
    assert not (tmp_path / POSTERIOR).exists()
