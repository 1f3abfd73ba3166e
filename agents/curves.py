"""How the policy of a training run was learned, as a section of a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from agents.bandits import make_bandit
from agents.files import CHECKPOINT
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Section
from steer_env.traces import read_traces


def learning_section(folder: Path) -> Section | None:
    """How the policy of a training run was learned: its curve, and a bandit's value function (the paper's Figure 8).

    None for a folder that no training left.
    """
    if not (folder / CHECKPOINT).is_file():
        return None
    checkpoint = json.loads((folder / CHECKPOINT).read_text())
    identity = checkpoint["identity"]
    improvements = np.array([trace.improvement for trace in read_traces(folder / "traces")])
    figures = [plots.training_curve(improvements)]
    text = f"{len(improvements)} episodes on {identity['suite']}, seed {identity['seed']}. "
    text += "Improvement over training, with 95 % intervals."
    if "kind" in identity:
        agent = make_bandit(identity["rounds"], identity)
        agent.restore(checkpoint["agent"])
        figures.append(plots.value_function(agent.means, agent.deviations, agent.counts))
        text += f" {agent.meaning}. A star marks the best scale."
    return Section(f"What was learned (Figure 8): {folder.name}", text, figures=figures)
