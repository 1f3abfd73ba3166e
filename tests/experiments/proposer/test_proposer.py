"""The command that makes the warm start of agents that propose, in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.proposer import Proposer
from experiments.proposer.__main__ import ProposerOptions
from experiments.proposer.making import CODES, PREDICTED, draw_codes, make_proposer
from experiments.run.options import Budget


def test_it_knows_images_of_a_prompt_apart_and_makes_them_once(tmp_path: Path) -> None:
    budget = Budget(steps=40, batch_size=4 * CODES, learning_rate=3e-3, ema_decay=0.8)
    config = ProposerOptions(
        codes=CODES,
        shards=1,
        made=1,
        prompts=12,
        held_out=4,
        work=str(tmp_path),
        target=str(tmp_path / "x"),
        budget=budget,
    )
    known = make_proposer(config)
    assert known["correlation"] > 0.1
    images = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    assert len(images) == 2
    real, predicted = (np.load(tmp_path / f"{index}.npy").astype(np.float32) for index in (0, PREDICTED))
    np.testing.assert_allclose(np.linalg.norm(real, axis=2), 1, atol=0.01)
    assert np.linalg.norm(predicted, axis=2).mean() < 0.99  # what is not certain is shorter
    again = make_proposer(config)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")} == images
    assert again["correlation"] == pytest.approx(known["correlation"], abs=1e-6)
    proposer = Proposer.load(str(tmp_path / "x"))
    assert torch.equal(proposer.codes, draw_codes(CODES, 1152, 0))
    assert proposer.shape.leash == config.leash
