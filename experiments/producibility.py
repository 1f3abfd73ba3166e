"""Fewer seeds, easier to steer, but to what: ``python -m experiments.producibility folder=outputs/seeds``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.run import PlayOptions, Run, command, option
from experiments.run.parts import env_options
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import UNKNOWN, Estimate, estimate
from steer_env.generators import load_generator
from steer_env.policies.lists import load_policies
from steer_env.types import Prompter, Studio, Task

if TYPE_CHECKING:
    from torch import Tensor

    from steer_env.envs import ImageSteeringVectorEnv

_STREAM = 0x90A1


@dataclass
class ProducibilityOptions(PlayOptions):
    """Restrict a generator to few random seeds: how well it is then steered, and what it can still produce (Figure 7).

    Steerability is measured by text steering towards goals of the generator's own, producibility by the closest of
    several images to goals that another generator made.

    Args:
        seeds: numbers of random seeds that the generator has; 0 for all that there are.
        user: who steers, a prompter as for experiments.evaluate.
        goals: how many goals are searched for, those of the first tasks.
        goal_generator: drawn, by the renderer of tilings; or a generator such as tiles:steps=4.
        variations: of the goal's prompt, itself among them, that are tried with each seed.
        tries: images made for a goal; where there are more pairs of variation and seed, so many are chosen at random.
    """

    seeds: list[int] = option([1, 2, 3, 0], least=0, length=1, unique=True)
    user: str = "text:attribute"
    tasks: int = option(500, least=2)
    goals: int = option(200, least=2)
    goal_generator: str = "drawn"
    variations: int = option(10, least=1)
    tries: int = option(30, least=1)


@command(ProducibilityOptions)
def main(options: ProducibilityOptions, run: Run) -> dict[str, Any]:
    """Steer and search with each number of seeds, and leave Figure 7."""
    from experiments.run.playing import check_tasks, play_suite

    (user,) = load_policies([options.user])
    if not isinstance(user, Prompter):
        raise ValueError(f"user must write prompts, such as text:attribute, not {options.user}")
    chosen = env_options(options)
    env = check_tasks(max(options.tasks, options.goals), **chosen)
    folder, size = run.open() / "traces", (options.tasks, options.tasks_per_batch)
    steered = {}
    for n in options.seeds:
        traces = play_suite([user], *size, folder / f"{n}-seeds", **{**chosen, "seeds": n})
        steered[n] = np.array([np.mean(trace.similarities) for trace in traces])
    maker, produced = search(options, env)
    lead = (
        f"“{user.name}” on {options.tasks} tasks of {options.env.suite}, {options.env.rounds + 1} attempts; generator "
        f"{env.dynamics.generator.id}, metric {env.dynamics.metric.id}. Standard errors in parentheses."
    )
    searched = (
        f"similarity of the closest of at most {options.tries} images, of {options.variations} variations of the "
        f"prompt with each seed, to {options.goals} goals of another generator, {maker}."
    )
    run.publish(producibility_report(steered, produced, lead, searched), wide=True)
    return {"tasks": options.tasks, "produced": {str(n): closest.tolist() for n, closest in produced.items()}}


def search(options: ProducibilityOptions, env: ImageSteeringVectorEnv) -> tuple[str, Mapping[int, np.ndarray]]:
    """Who made the goals, and for each number of seeds the similarity of the closest image to each, float (G,)."""
    from rich.progress import track

    from steer_env.envs.base import FIRST_SEED
    from steer_env.imaging.studio import LocalStudio
    from steer_env.tiles.drawn import DrawnTiles
    from steer_env.tiles.prompters import BlindPrompter

    studio, tasks = env.dynamics.studio, env.suite[: options.goals]
    shapes = (studio.generator.image_shape, studio.generator.latent_shape)
    drawn = options.goal_generator == "drawn"
    maker = DrawnTiles(*shapes) if drawn else load_generator(options.goal_generator, options.device, options.dtype)
    embedded = goals(LocalStudio(maker, studio.metric), tasks)
    prompts = variations(BlindPrompter(), tasks, options.variations)
    produced: dict[int, np.ndarray] = {}
    for n in options.seeds:
        seeds = [FIRST_SEED + i for i in range(n)] or None
        searches = track([*zip(embedded, prompts, tasks, strict=True)], f"searching with {n or 'all'} seeds")
        produced[n] = np.array(
            [closest(studio, goal, rows, seeds, options.tries, search_stream(n, task)) for goal, rows, task in searches]
        )
    return maker.id, produced


def variations(prompter: Prompter, tasks: Sequence[Task], n: int) -> list[list[str]]:
    """n prompts for each task's goal: the goal prompt, and what the prompter makes of it without seeing anything."""
    prompter.start([replace(task, prompt=task.goal_prompt) for task in tasks], [task.goal_seed for task in tasks])
    written = [[task.goal_prompt] for task in tasks]
    for place in range(1, n):
        new = prompter.write(written, np.zeros((len(tasks), place)))
        for row, prompt in zip(written, new, strict=True):
            row.append(prompt)
    return written


def goals(studio: Studio, tasks: Sequence[Task]) -> Tensor:
    """Embeddings float (T, D) of the images that a studio makes of goal prompts."""
    pictures = [(task.goal_prompt, task.goal_seed) for task in tasks]
    return studio.picture(*studio.prepare(pictures), "the goals", metrics=[""])[0][""]


def closest(
    studio: Studio,
    goal: Tensor,
    prompts: Sequence[str],
    seeds: Sequence[int] | None,
    tries: int,
    rng: np.random.Generator,
) -> float:
    """Make up to ``tries`` images of random pairs of prompt and seed; the highest similarity to a goal, float (D,).

    No pair is drawn twice. Without seeds, each try draws any seed below 2³¹.
    """
    if seeds is None:
        pairs = [(str(rng.choice(prompts)), int(rng.integers(2**31))) for _ in range(tries)]
    else:
        distinct = [(prompt, seed) for prompt in dict.fromkeys(prompts) for seed in seeds]
        pairs = [distinct[i] for i in sorted(rng.permutation(len(distinct))[:tries])]
    embeddings, _ = studio.picture(*studio.prepare(pairs), f"the search for {prompts[0]!r}", metrics=[""])
    return float(studio.metric.similarity(embeddings[""], goal).max())


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
        lead, searched: what was played, and how the closest images were searched for.
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
    section = Section("Fewer seeds (Figure 7)", text, [shown], [trade_off_figure(points)])
    return Report("Producibility against steerability", lead, [section])


def _cells(values: np.ndarray, free: np.ndarray) -> tuple[str, str, str, str]:
    mean, difference = estimate(values), estimate(values - free)
    compared = (UNKNOWN, UNKNOWN) if values is free else (str(difference), f"{difference.p_value:.2g}")
    return str(mean), f"{1 - mean.value:.4f}", *compared


def trade_off_figure(points: Mapping[str, tuple[Estimate, Estimate]]) -> plots.Figure:
    """Figure 7: steerability and producibility of each label, with one standard error each."""
    figure, axes = plots.canvas(4.8, 3.6)
    for i, (label, (steered, produced)) in enumerate(points.items()):
        style: dict[str, Any] = {"fmt": "o", "capsize": 2, "color": plots.colour(i)}
        axes.errorbar(produced.value, steered.value, xerr=produced.error, yerr=steered.error, **style)
        axes.annotate(label, (produced.value, steered.value), (5, 5), textcoords="offset points")
    axes.margins(0.2)
    plots.finish(axes, "producibility (similarity)", "steerability (similarity)")
    return figure


if __name__ == "__main__":
    main()
