"""How close a generator can come to a goal at all, whoever steers it (paper, Section 2 and C.1, Figure 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from torch import Tensor

from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section, number
from steer_env.evaluation.statistics import estimate
from steer_env.types import Prompter, Studio, Task

_STREAM = 0x90A1


def variations(prompter: Prompter, tasks: Sequence[Task], n: int) -> list[list[str]]:
    """n prompts for each task's goal: the goal prompt, and what the prompter makes of it without seeing anything.

    Args:
        prompter: says the first prompt in other words, as :class:`steer_env.prompters.BlindPrompter` does.
        tasks: T of them.
        n: at least 1.
    """
    prompter.start([replace(task, prompt=task.goal_prompt) for task in tasks], [task.goal_seed for task in tasks])
    written = [[task.goal_prompt] for task in tasks]
    for place in range(1, n):
        new = prompter.write(written, np.zeros((len(tasks), place)))
        for row, prompt in zip(written, new, strict=True):
            row.append(prompt)
    return written


def closest(
    studio: Studio,
    goal: Tensor,
    prompts: Sequence[str],
    seeds: Sequence[int] | None,
    tries: int,
    rng: np.random.Generator,
) -> float:
    """Similarity of the closest image to a goal, of those that some prompts and seeds make.

    Args:
        studio: makes the images, and compares them by its metric.
        goal: embedding float (D,).
        prompts: variations, tried with each seed.
        seeds: those that the generator has; None for all there are, of which each try takes one at random.
        tries: most images to make, chosen at random among the pairs of prompt and seed.
        rng: of the choice.
    """
    if seeds is None:
        pairs = [(str(rng.choice(prompts)), int(rng.integers(2**31))) for _ in range(tries)]
    else:
        distinct = [(prompt, seed) for prompt in dict.fromkeys(prompts) for seed in seeds]
        chosen = rng.permutation(len(distinct))[:tries]
        pairs = [distinct[i] for i in sorted(chosen)]
    embeddings, _ = studio.picture(*studio.prepare(pairs), f"the search for {prompts[0]!r}", metrics=[""])
    return float(studio.metric.similarity(embeddings[""], goal).max())


def goals(studio: Studio, tasks: Sequence[Task]) -> Tensor:
    """Embeddings float (T, D) of the images that a studio makes of goal prompts."""
    pictures = [(task.goal_prompt, task.goal_seed) for task in tasks]
    return studio.picture(*studio.prepare(pictures), "the goals", metrics=[""])[0][""]


def search_stream(seeds: int, task: Task) -> np.random.Generator:
    """Of the random choices in the search for one goal."""
    return np.random.default_rng([_STREAM, seeds, task.index])


def producibility_report(
    steered: Mapping[int, np.ndarray], produced: Mapping[int, np.ndarray], lead: str, searched: str
) -> Report:
    """Figure 7 as a page.

    Args:
        steered: number of seeds (0: all) → similarity on each task, mean over attempts, float (T,).
        produced: the same → similarity of the closest image to each goal of another generator, float (G,).
        lead: what was played.
        searched: how the closest images were searched for.
    """
    names = {n: str(n) if n else "all" for n in steered}
    free = next((n for n in steered if not n), max(steered))
    rows = [(names[n], *_cells(steered[n], steered[free]), *_cells(produced[n], produced[free])) for n in steered]
    columns = ["seeds"]
    for what in ("steerability", "producibility"):
        columns += [what, f"{what} gap", f"minus {names[free]} seeds", "p"]
    shown = pd.DataFrame(rows, columns=columns)
    text = f"Steerability: similarity to goals of the generator's own, mean over attempts. Producibility: {searched} "
    text += "Gaps: what is missing to 1 (Equation 2)."
    points = {
        f"{name} seed{'' if n == 1 else 's'}": (estimate(steered[n][None]), estimate(produced[n][None]))
        for n, name in names.items()
    }
    section = Section("Fewer seeds (Figure 7)", text, [shown], [plots.trade_off(points)])
    return Report("Producibility against steerability", lead, [section])


def _cells(values: np.ndarray, free: np.ndarray) -> tuple[str, str, str, str]:
    found = estimate(values[None])
    if values is free:
        return number(found), f"{1 - found.mean:.4f}", "–", "–"
    difference = estimate((values - free)[None])
    return number(found), f"{1 - found.mean:.4f}", number(difference), f"{difference.p_value:.2g}"
