"""How close a generator can come to a goal at all, whoever steers it (paper, Section 2 and C.1, Figure 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from torch import Tensor

from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import UNKNOWN, estimate
from steer_env.pictures import picture
from steer_env.proposals import draw_latents
from steer_env.types import Generator, Metric, Prompter, Task

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
    generator: Generator,
    metric: Metric,
    goal: Tensor,
    prompts: Sequence[str],
    seeds: Sequence[int] | None,
    tries: int,
    rng: np.random.Generator,
) -> float:
    """Similarity of the closest image to a goal, of those that some prompts and seeds make.

    Args:
        generator, metric: make and compare the images.
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
    latents = draw_latents([seed for _, seed in pairs], generator.latent_shape).to(generator.device)
    conditioning = generator.encode([prompt for prompt, _ in pairs])
    found, _ = picture(generator, {"": metric}, latents, conditioning, f"the search for {prompts[0]!r}")
    return float(metric.similarity(found[""], goal).max())


def goals(generator: Generator, metric: Metric, tasks: Sequence[Task]) -> Tensor:
    """Embeddings float (T, D) of the images that a generator makes of goal prompts."""
    latents = draw_latents([task.goal_seed for task in tasks], generator.latent_shape).to(generator.device)
    conditioning = generator.encode([task.goal_prompt for task in tasks])
    return picture(generator, {"": metric}, latents, conditioning, "the goals")[0][""]


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
        f"{name} seed{'' if n == 1 else 's'}": (estimate(steered[n]), estimate(produced[n]))
        for n, name in names.items()
    }
    section = Section("Fewer seeds (Figure 7)", text, [shown], [plots.trade_off(points)])
    return Report("Producibility against steerability", lead, [section])


def _cells(values: np.ndarray, free: np.ndarray) -> tuple[str, str, str, str]:
    found, difference = estimate(values), estimate(values - free)
    compared = (UNKNOWN, UNKNOWN) if values is free else (str(difference), f"{difference.p_value:.2g}")
    return str(found), f"{1 - found.value:.4f}", *compared
