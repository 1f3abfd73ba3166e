"""The steerability benchmark of several generators, tabulated as in the paper (Tables 1, 2, 5, 6, Figures 5, 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from steer_env.evaluation import plots, statistics
from steer_env.evaluation.agreement import correlation, rank_agreement
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import SAME, Estimate, estimate
from steer_env.traces import SteeringTrace, traces_to_frame

OWN = "metric"
"""What tables call the metric that users and rewards go by."""


@dataclass(frozen=True)
class Played:
    """All that the tables are computed from.

    Args:
        generators: by name, the traces of all policies and prompters, on the same tasks with the same noise.
        settings: by what the user may choose besides the prompt, the user's traces with the first generator.
        user: name of the prompter on whom everything but Table 1 rests.
        alignment: name of the judge that compares images with prompts; empty for none.
    """

    generators: Mapping[str, Sequence[SteeringTrace]]
    settings: Mapping[str, Sequence[SteeringTrace]]
    user: str
    alignment: str

    def of_user(self, generator: str) -> list[SteeringTrace]:
        """The user's episodes, in the order of the tasks."""
        return self.ordered(self.generators[generator])

    def ordered(self, traces: Sequence[SteeringTrace]) -> list[SteeringTrace]:
        """The user's episodes among some, in the order of the tasks."""
        return sorted((trace for trace in traces if trace.policy == self.user), key=lambda trace: trace.task_index)

    def similarities(self, generator: str) -> dict[str, np.ndarray]:
        """By metric, float (T, 1 + R): similarity to the goal at each of the user's attempts."""
        traces = self.of_user(generator)
        judges = [name for name in traces[0].judged if name != self.alignment]
        own = {OWN: np.array([trace.similarities for trace in traces])}
        return own | {name: np.array([trace.judged[name] for trace in traces]) for name in judges}


def benchmark_report(played: Played, lead: str) -> Report:
    """Everything on one page.

    Args:
        played: what was played.
        lead: with what, in a sentence.
    """
    sections = [_improvements(played), _averages(played)]
    if len(played.generators) > 1:
        sections.append(_rankings(played))
    if played.alignment:
        sections.append(_alignment(played))
    sections += [_setting(played, name) for name in played.settings]
    return Report("Steerability benchmark", lead, sections)


def _improvements(played: Played) -> Section:
    rows = []
    for name, traces in played.generators.items():
        frame = traces_to_frame(traces)
        for policy in frame["policy"].unique():
            gained = statistics.table(frame, policy)
            last = statistics.table(frame.assign(last=frame["similarities"].map(lambda s: s[-1])), policy, "last")
            rows.append((name, policy, estimate(gained), f"{estimate(gained > 0):.1%}", estimate(last)))
    columns = ["generator", "policy", "avg. change", "% improved", "last similarity"]
    text = "Users who rewrite their prompts, and users who choose among proposals; all on the same tasks."
    return Section("Prompting and choosing images (Table 1)", text, [pd.DataFrame(rows, columns=columns)])


def _averages(played: Played) -> Section:
    rows: list[tuple[Any, ...]] = []
    everything: dict[str, list[np.ndarray]] = {}
    for name in played.generators:
        means = {metric: found.mean(axis=1) for metric, found in played.similarities(name).items()}
        rows.append((name, *map(estimate, means.values())))
        for metric, values in means.items():
            everything.setdefault(metric, []).append(values)
    rows.append(("Average", *(estimate(np.mean(values, axis=0)) for values in everything.values())))
    columns = ["generator", *(f"{metric} avg." for metric in everything)]
    text = f"Similarity of the images of “{played.user}” to their goals, mean over attempts, the first included."
    return Section("Similarity under several metrics (Table 2)", text, [pd.DataFrame(rows, columns=columns)])


def _rankings(played: Played) -> Section:
    found = [played.similarities(name) for name in played.generators]
    means = {metric: np.stack([one[metric].mean(axis=1) for one in found]) for metric in found[0]}
    rows = []
    for metric, values in means.items():
        if metric != OWN:
            agreed = rank_agreement(means[OWN], values)
            rows.append((metric, f"{agreed.value:.2f}", agreed.brackets(".2f")))
    shown = [pd.DataFrame(rows, columns=["metric", "agreement", "95 % interval"])] if rows else []
    text = (
        "Do other metrics rank the generators as the user's does? Agreement is Kendall's τ, 1 for the same order and "
    )
    text += "−1 for the opposite one, with a bootstrap interval over tasks."
    scores = {metric: values.mean(axis=1) for metric, values in means.items()}
    return Section("Rankings (Figure 5)", text, shown, [plots.rankings(list(played.generators), scores)])


def _alignment(played: Played) -> Section:
    rows, points = [], {}
    for name in played.generators:
        traces = played.of_user(name)
        aligned = np.array([trace.judged[played.alignment] for trace in traces])
        similar = np.array([trace.similarities for trace in traces])
        found = correlation(aligned, similar)
        rows.append((name, estimate(aligned.mean(axis=1)), f"{found.value:.2f}", found.brackets(".2f")))
        points[name] = (aligned.ravel(), similar.ravel())
    columns = ["generator", "alignment avg.", "correlation with similarity", "95 % interval"]
    text = (
        f"Does an image that shows what its prompt says also resemble the goal? Alignment is “{played.alignment}”, the "
    )
    text += "cosine of an image and its prompt; correlation over all attempts, with a bootstrap interval over tasks."
    figures = [plots.alignment(points)]
    return Section("Alignment and steerability (Figure 6)", text, [pd.DataFrame(rows, columns=columns)], figures)


def _setting(played: Played, setting: str) -> Section:
    first = next(iter(played.generators))
    compared = {
        f"choosing {setting}": played.ordered(played.settings[setting]),
        f"not choosing {setting}": played.of_user(first),
    }
    free, bound = (np.array([trace.similarities for trace in traces]) for traces in compared.values())
    rows = [(str(i + 1), *_compared(free[:, i], bound[:, i])) for i in range(free.shape[1])]
    rows.append(("Average", *_compared(free.mean(axis=1), bound.mean(axis=1))))
    columns = ["attempt", *compared, "difference", "p"]
    where = {"seed": "Table 5", "guidance": "Table 6"}.get(setting, setting)
    text = f"Similarity to the goal at each attempt with {first}, where “{played.user}” may choose the {setting} of an "
    text += "attempt and where not; paired by task, two-sided p-values of Student's t."
    named = [replace(trace, policy=name) for name, traces in compared.items() for trace in traces]
    curves = statistics.attempts(traces_to_frame(named))
    return Section(
        f"Choosing the {setting} ({where})", text, [pd.DataFrame(rows, columns=columns)], [plots.attempts_curve(curves)]
    )


def _compared(free: np.ndarray, bound: np.ndarray) -> tuple[Estimate, Estimate, Estimate, str]:
    gap = free - bound
    # Batches of other sizes round otherwise, which is no difference.
    difference = estimate(np.where(np.abs(gap) <= SAME, 0.0, gap))
    return estimate(free), estimate(bound), difference, f"{difference.p_value:.2g}"
