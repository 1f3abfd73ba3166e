"""A training that is killed outright, at any moment; `make attack` kills others, more often."""

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import torch

from agents.bandits import make_bandit
from agents.episodes import Training
from agents.files import episodes_done, read_checkpoint
from agents.training import train
from steer_env.evaluation.rollout import make_env
from steer_env.traces import read_traces
from tests.conftest import BLOTS

EPISODES, BATCH, KILLS = 80, 2, 6
SETTINGS = {"kind": "planning", "credit": "increment", "pooling": True, "covariate": True, "spread": "root"}


def run(folder: Path, started: Event) -> None:
    torch.set_num_threads(1)
    agent, env = make_bandit(2, SETTINGS), make_env(BATCH, rounds=2, proposals=1, **BLOTS)
    started.set()
    train(agent, env, Training(EPISODES, seed=3, batches_per_checkpoint=1), folder)
    agent.policy("learned", 3).save(folder / "policy")


def test_a_training_killed_again_and_again_ends_as_if_it_never_had_been(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # Processes are started from one that has imported everything and run nothing, so that starting them is quick.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.conftest", "tests.agents.test_killed"])

    def start(folder: Path) -> BaseProcess:
        started = context.Event()
        process = context.Process(target=run, args=(folder, started))
        process.start()
        assert started.wait(60)
        return process

    process, began = start(whole), time.perf_counter()
    process.join()
    seconds = time.perf_counter() - began
    moments, counts = np.random.default_rng(7), []
    for _ in range(KILLS):
        process = start(killed)
        process.join(moments.uniform(0, seconds / 4))
        process.kill()
        process.join()
        counts.append(episodes_done(killed))
    assert any(0 < count < EPISODES for count in counts)
    start(killed).join()
    assert (killed / "policy" / "policy.json").read_text() == (whole / "policy" / "policy.json").read_text()
    assert read_checkpoint(killed) == read_checkpoint(whole)
    assert read_traces(whole / "traces") == read_traces(killed / "traces")
