from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from agents.bandits import make_bandit
from steer_env.evaluation.off_policy import FEW, Logged, off_policy
from steer_env.evaluation.suites import evaluate
from steer_env.policies import RandomBucketPolicy, RandomScalePolicy, TablePolicy
from steer_env.policies.names import load_policy
from steer_env.proposals import BUCKETS
from steer_env.traces import SteeringTrace

ROUNDS = 2
TARGET = TablePolicy("target", np.array([[0.8, 0.8], [0.2, 0.6]]))
NOISE, HABIT = 0.05, 0.1


def study(people: int, sessions: int, seed: int, explore: float = 0.6) -> list[SteeringTrace]:
    """Sessions that explore around TARGET: a round gains a tenth of its scale, more after a stay, plus a habit."""
    rng = np.random.default_rng(seed)
    traces = []
    for person in range(people):
        habit = HABIT * rng.standard_normal()
        for _ in range(sessions):
            scales, choices, chances, similarities, stayed = [], [], [], [0.3], 0
            for place in range(ROUNDS):
                planned = TARGET.scales[place, stayed]
                random = rng.random() < explore
                scale = (rng.integers(BUCKETS) + 1) / BUCKETS if random else planned
                chances.append(explore / BUCKETS + (1 - explore) * np.isclose(scale, planned))
                gain = 0.1 * scale * (1 + stayed) + habit + NOISE * rng.standard_normal()
                stayed = int(rng.random() < 0.4)
                scales.append(float(scale))
                choices.append(1 - stayed)
                similarities.append(float(similarities[-1] + gain))
            record = {"scales": scales, "choices": choices, "propensities": chances, "similarities": similarities}
            traces.append(trace(f"person-{person}", **record))
    return traces


def trace(human: str, **record: object) -> SteeringTrace:
    task = {"suite": "s", "task_index": 0, "goal_prompt": "g", "goal_seed": 0, "prompt": "p", "initial_seed": 0}
    parts = {"mechanism": "mixture", "policy": "soft", "human": human, "generator": "g", "metric": "m"}
    return SteeringTrace(**task, **parts, **record)


TRUTH = 0.1 * 0.8 + 0.6 * 0.1 * 0.2 + 0.4 * 0.2 * 0.6
"""Of TARGET: 0.08 in the first round; in the second 0.02 after a move, 0.12 after a stay."""


def test_a_policy_on_its_own_sessions_scores_their_mean() -> None:
    traces = study(40, 2, 0, explore=1.0)
    own = load_policy("random-bucket")
    found = off_policy(traces, own)
    mean = np.mean([each.improvement for each in traces])
    for name in ("inverse propensity", "self-normalised", "per-decision"):
        assert found.estimates[name].value == pytest.approx(mean)
    robust = found.estimates["doubly robust"]
    assert abs(robust.value - mean) < robust.error
    assert found.estimates["inverse propensity"].freedom == 39
    assert found.effective == pytest.approx(40)


def test_every_estimate_comes_to_the_truth_and_the_doubly_robust_one_soonest() -> None:
    found = off_policy(study(3000, 2, 1), TARGET).estimates
    for name, each in found.items():
        assert abs(each.value - TRUTH) < 4 * each.error, name
        assert each.error < 0.02
    assert found["doubly robust"].error < found["per-decision"].error < found["inverse propensity"].error


def test_intervals_hold_the_truth_as_often_as_they_say_with_people_as_units() -> None:
    held, wider = 0, []
    for i in range(100):
        logged = Logged.of(study(60, 3, 100 + i))
        found = off_policy(logged, TARGET).estimates["doubly robust"]
        interval = found.interval()
        held += interval.low <= TRUTH <= interval.high
        rows = replace(logged, units=pd.Series(range(180), name="unit"))
        wider.append(found.error / off_policy(rows, TARGET).estimates["doubly robust"].error)
    assert 90 <= held <= 99
    assert np.mean(wider) > 1.2, "sessions of a person aren't independent"


def test_few_people_in_effect_are_said_to_be_too_few() -> None:
    found = off_policy(study(60, 1, 2, explore=1.0), TARGET)
    assert found.effective < FEW
    assert not found.trusted
    assert off_policy(study(200, 1, 2, explore=0.3), TARGET).trusted


class TestLogging:
    def test_policies_log_how_likely_they_were(self) -> None:
        policies = [load_policy("exploring:policy=published,explore=0.5"), load_policy("published")]
        policies += [RandomBucketPolicy(), RandomScalePolicy()]
        (traces,) = evaluate(policies, 4, suite="tiles-val-v1", generator="tiles:steps=1", rounds=2)
        by_policy = {name: [t for t in traces if t.policy == name] for name in {t.policy for t in traces}}
        exploring = by_policy["exploring 0.5 published"]
        published = [0.8, 0.8]
        for each in exploring:
            assert each.propensities[0] == pytest.approx(0.55 if np.isclose(each.scales[0], published[0]) else 0.05)
        assert all(t.propensities == [1, 1] for t in by_policy["published"])
        assert all(t.propensities == pytest.approx([0.1, 0.1]) for t in by_policy["random bucket"])
        assert all(t.propensities == [] for t in by_policy["random scale per session"])

    def test_a_bandit_knows_how_likely_its_draws_are(self) -> None:
        agent = make_bandit(2, {"kind": "thompson", "cells": "round-stayed", "prior_variance": 0.01})
        agent.update(study(40, 1, 3))
        policy = agent.explore(20_000, np.random.default_rng(0))
        place, stayed = np.full(20_000, 1), np.full(20_000, 1)
        scales = policy.act({"round": place, "stayed": stayed})
        shares = np.bincount(np.rint(scales * BUCKETS).astype(int) - 1, minlength=BUCKETS) / 20_000
        known = [policy.propensity(np.full(20_000, (b + 1) / BUCKETS))[0] for b in range(BUCKETS)]
        assert sum(known) == pytest.approx(1)
        assert np.abs(shares - known).max() < 4 * (0.25 / 20_000) ** 0.5
        assert shares.max() > 2 * shares.min(), "something has been learned"

    def test_an_agent_that_cannot_say_logs_nothing(self) -> None:
        agent = make_bandit(
            2, {"kind": "planning", "credit": "increment", "pooling": True, "covariate": True, "spread": "root"}
        )
        policy = agent.explore(1, np.random.default_rng(0))
        policy.act({"round": np.array([0]), "stayed": np.array([0])})
        assert np.isnan(policy.propensity(np.array([0.5]))).all()


class TestErrors:
    def test_sessions_without_propensities(self) -> None:
        with pytest.raises(ValueError, match=r"task 0 of s, by 'soft': the session lacks the probabilities"):
            off_policy([replace(each, propensities=[]) for each in study(3, 1, 0)], TARGET)

    def test_a_scale_that_was_never_tried(self) -> None:
        with pytest.raises(ValueError, match=r"'constant 0.85' plays scales in round 1 that no session has"):
            off_policy(study(30, 1, 0), load_policy("constant:0.85"))

    def test_sessions_without_similarities(self) -> None:
        nowhere = [replace(each, similarities=[float("nan")] * 3) for each in study(3, 1, 0)]
        with pytest.raises(ValueError, match="without similarities"):
            off_policy(nowhere, TARGET)

    def test_sessions_of_several_lengths(self) -> None:
        traces = study(3, 1, 0)
        with pytest.raises(ValueError, match=r"found \[1, 2\]"):
            off_policy([replace(traces[0], scales=[0.5]), *traces[1:]], TARGET)

    @pytest.mark.parametrize("explore", [0, 1.5])
    def test_shares_of_exploration(self, explore: float) -> None:
        with pytest.raises(ValueError, match=f"explore must be from 1e-06 to 1, got {explore}"):
            load_policy({"name": "exploring", "explore": explore})
