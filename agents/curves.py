"""How the policy of a training run was learned, as a section of a report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from agents.bandits import make_bandit
from agents.checkpoints import TRACES, finished_checkpoint
from agents.files import CHECKPOINT
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Section
from steer_env.traces import read_improvements


def learning_section(folder: Path) -> Section | None:
    """How the policy of a training run was learned: its curve, and a bandit's value function (the paper's Figure 8).

    None for a folder that no training left. What is damaged there is named in the section, and costs nothing else.
    """
    if not (folder / CHECKPOINT).is_file():
        return None
    title = f"What was learned (Figure 8): {folder.name}"
    try:
        return Section(title, *_learned(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Section(title, f"It can't be shown: {str(error)[:300]}")


def _learned(folder: Path) -> tuple[str, list[pd.DataFrame], list[Figure]]:
    checkpoint = finished_checkpoint(folder)
    identity = checkpoint["identity"]
    improvements = read_improvements(folder / TRACES, most=checkpoint["episodes"])
    figures = [plots.training_curve(improvements)]
    text = f"{len(improvements)} episodes on {identity['suite']}, seed {identity['seed']}. "
    text += "Improvement over training, with 95 % intervals."
    if "kind" in identity:
        agent = make_bandit(identity["rounds"], identity)
        agent.restore(checkpoint["agent"])
        figures.append(plots.value_function(agent.means, agent.deviations, agent.counts))
        text += f" {agent.meaning}. A star marks the best scale."
    return text, [], figures
