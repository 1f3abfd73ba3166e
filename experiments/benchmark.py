"""Benchmark generators: ``python -m experiments.benchmark folder=outputs/benchmark``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.run import PlayOptions, Run, command, option
from experiments.run.folder import slug
from experiments.run.parts import env_options
from steer_env.evaluation import plots, statistics
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.statistics import table
from steer_env.evaluation.uncertainty import SAME, Estimate, Interval, estimate, pearson, percentiles, redrawn
from steer_env.generators import load_generator
from steer_env.imaging import make_studio
from steer_env.metrics import load_judges, load_metric
from steer_env.policies.lists import load_policies
from steer_env.registry import parse_spec
from steer_env.tasks import load_suite
from steer_env.traces import SteeringTrace, traces_to_frame
from steer_env.types import Metric, Prompter

DRAWN = "drawn"
OWN = "metric"
"""What tables call the metric that users and rewards go by."""
_RESAMPLES = 2000
_GOALS = 64
"""Goals that two decoders are compared on."""


@dataclass
class BenchmarkOptions(PlayOptions):
    """Benchmark several generators: the paper's Tables 1, 2, 5 and 6 and Figures 5 and 6 for them, on one page.

    Args:
        generators: such as tiles, or with options 'tiles:steps=1,guidance_scale=2' or
            'stable-diffusion:path=/path/to/model'. On the first one seeds and guidance scales are chosen.
        policies: as for experiments.evaluate. The first must write prompts: all but Table 1 is about it.
        choose: what it may choose besides, one after the other: seed (Table 5), guidance (Table 6).
        alignment: what compares images with prompts (Figure 6): drawn, by drawings of tilings' captions; a name among
            env.judges, such as clip-alignment; or empty for nothing.
    """

    generators: list[str] = option(
        ["tiles", "tiles:steps=1", "tiles:steps=4", "tiles:guidance_scale=2"], length=1, unique=True
    )
    policies: list[str] = option(["text:attribute", "random-session", "best-known"], length=1, unique=True)
    choose: list[str] = option(["seed", "guidance"], unique=True)
    alignment: str = DRAWN
    tasks: int = option(500, least=2)


@command(BenchmarkOptions)
def main(options: BenchmarkOptions, run: Run) -> dict[str, Any]:
    """Steer every generator by every policy, the first one also with each setting to choose, and leave the tables."""
    from experiments.run.playing import check_players, play_suite

    policies = load_policies(options.policies)
    user = policies[0]
    if not isinstance(user, Prompter):
        raise ValueError(f"the first of policies must write prompts, such as text:attribute, not {options.policies[0]}")
    envs = {spec: env_with(options, spec) for spec in options.generators}
    for env in envs.values():
        check_players(policies, options.tasks, **{**env, "choose": options.choose})
    folder, size = run.open() / "traces", (options.tasks, options.tasks_per_batch)
    traces = {spec: play_suite(policies, *size, folder / slug(spec), **env) for spec, env in envs.items()}
    first = envs[options.generators[0]]
    settings = {
        name: play_suite([user], *size, folder / f"choosing-{name}", **{**first, "choose": [name]})
        for name in options.choose
    }
    suite, attempts = options.env.suite, options.env.rounds + 1
    lead = f"{len(policies)} policies on {options.tasks} tasks of {suite}, {attempts} attempts; "
    lead += f"user {options.human.name}, metric {options.metric.name}. Standard errors in parentheses."
    report = benchmark_report(Played(traces, settings, user.name, options.alignment), lead)
    if gaps := decoder_gaps(options):
        report.sections.append(gaps)
    run.publish(report, wide=True)
    return {"generators": options.generators, "tasks": options.tasks}


def env_with(options: BenchmarkOptions, spec: str) -> dict[str, Any]:
    """The environment's options with a generator such as ``tiles:steps=1``, and the judges with the alignment."""
    from steer_env.tiles.drawn import DrawnAlignment

    env = env_options(options, generator=spec)
    where = {"device": options.device, "dtype": options.dtype}
    judges = load_judges(env["judges"], **where)
    if options.alignment == DRAWN:
        generator, metric = load_generator(spec, **where), load_metric(env["metric"], **where)
        return {**env, "judges": {**judges, DRAWN: DrawnAlignment(metric, generator.image_shape)}}
    if options.alignment and options.alignment not in judges:
        raise ValueError(f"alignment must be {DRAWN}, one of env.judges, or empty, not {options.alignment!r}")
    return env


@dataclass(frozen=True)
class Played:
    """The traces behind the tables: of all policies by generator, and with the first one by what the user may choose.

    The user is the prompter behind everything but Table 1; the alignment, a judge that compares images with prompts.
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
    """Everything on one page."""
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
            gained = table(frame, policy)
            last = table(frame.assign(last=frame["similarities"].map(lambda s: s[-1])), policy, "last")
            rows.append((name, policy, estimate(gained), f"{estimate(gained > 0):.1%}", estimate(last)))
    columns = ["generator", "policy", "avg. change", "% improved", "last similarity"]
    text = "Users who rewrite their prompts, and users who choose among proposals; all on the same tasks."
    return Section("Prompting and choosing images (Table 1)", text, [pd.DataFrame(rows, columns=columns)])


def _averages(played: Played) -> Section:
    rows: list[tuple[Any, ...]] = []
    everything: dict[str, list[np.ndarray]] = {}
    for name in played.generators:
        means = {metric: values.mean(axis=1) for metric, values in played.similarities(name).items()}
        rows.append((name, *map(estimate, means.values())))
        for metric, values in means.items():
            everything.setdefault(metric, []).append(values)
    rows.append(("Average", *(estimate(np.mean(values, axis=0)) for values in everything.values())))
    columns = ["generator", *(f"{metric} avg." for metric in everything)]
    text = f"Similarity of the images of “{played.user}” to their goals, mean over attempts, the first included."
    return Section("Similarity under several metrics (Table 2)", text, [pd.DataFrame(rows, columns=columns)])


def _rankings(played: Played) -> Section:
    similarities = [played.similarities(name) for name in played.generators]
    means = {metric: np.stack([one[metric].mean(axis=1) for one in similarities]) for metric in similarities[0]}
    rows = []
    for metric, values in means.items():
        if metric != OWN:
            agreed = rank_agreement(means[OWN], values)
            rows.append((metric, f"{agreed.value:.2f}", agreed.brackets(".2f")))
    shown = [pd.DataFrame(rows, columns=["metric", "agreement", "95 % interval"])] if rows else []
    text = (
        "Do other metrics rank the generators as the user's does? Agreement is Kendall's τ, 1 for the same order and "
        "−1 for the opposite one, with a bootstrap interval over tasks."
    )
    scores = {metric: values.mean(axis=1) for metric, values in means.items()}
    return Section("Rankings (Figure 5)", text, shown, [rankings_figure(list(played.generators), scores)])


def rank_agreement(left: np.ndarray, right: np.ndarray) -> Interval:
    """Kendall's τ (a) between two measures' rankings of G > 1 things by their means; float (G, T) on T tasks each."""
    if len(left) < 2:
        raise ValueError(f"a ranking needs at least 2 things, got {len(left)}")
    weights = redrawn(np.random.default_rng(0), left.shape[1], _RESAMPLES)
    pairs = np.triu_indices(len(left), 1)

    def tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.mean([np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in zip(*pairs, strict=True)], axis=0)

    value = tau(left.mean(axis=1), right.mean(axis=1)).item()
    return percentiles(value, tau(left @ weights.T, right @ weights.T))


def rankings_figure(names: Sequence[str], scores: Mapping[str, np.ndarray]) -> plots.Figure:
    """Figure 5: the rank of each of G generators under each metric, from scores (G,), the best above."""
    from scipy import stats

    figure, axes = plots.canvas(1.6 + 1.6 * len(scores), 0.8 + 0.45 * len(names))
    ranks = np.stack([stats.rankdata(-values, method="ordinal") for values in scores.values()], axis=1)
    for i, (name, row) in enumerate(zip(names, ranks, strict=True)):
        axes.plot(range(len(scores)), row, marker="o", color=plots.colour(i))
        axes.annotate(name, (len(scores) - 1, row[-1]), (8, -3), textcoords="offset points", fontsize="small")
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set(yticks=range(1, len(names) + 1), ylabel="rank")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _alignment(played: Played) -> Section:
    rows, points = [], {}
    for name in played.generators:
        traces = played.of_user(name)
        aligned = np.array([trace.judged[played.alignment] for trace in traces])
        similar = np.array([trace.similarities for trace in traces])
        agreed = correlation(aligned, similar)
        rows.append((name, estimate(aligned.mean(axis=1)), f"{agreed.value:.2f}", agreed.brackets(".2f")))
        points[name] = (aligned.ravel(), similar.ravel())
    columns = ["generator", "alignment avg.", "correlation with similarity", "95 % interval"]
    text = (
        f"Does an image that shows what its prompt says also resemble the goal? Alignment is “{played.alignment}”, the "
        "cosine of an image and its prompt; correlation over all attempts, with a bootstrap interval over tasks."
    )
    shown, figures = [pd.DataFrame(rows, columns=columns)], [alignment_figure(points)]
    return Section("Alignment and steerability (Figure 6)", text, shown, figures)


def correlation(left: np.ndarray, right: np.ndarray) -> Interval:
    """Pearson's correlation of two measures that vary, float (T, n), with a bootstrap over tasks."""
    if not (np.ptp(left) and np.ptp(right)):
        raise ValueError("there is no correlation with a measure that is the same everywhere")
    tasks = np.repeat(np.arange(len(left)), left.shape[1])
    return pearson((left - left.mean()).ravel(), (right - right.mean()).ravel(), tasks, _RESAMPLES)


def alignment_figure(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> plots.Figure:
    """Figure 6: similarity of images to their goals against their alignment with their prompts, by generator."""
    figure, axes = plots.canvas(5.4, 4.0)
    for i, (name, (aligned, similar)) in enumerate(points.items()):
        axes.scatter(aligned, similar, s=4, alpha=0.3, color=plots.colour(i), label=name, edgecolors="none")
    plots.finish(axes, "alignment of image and prompt", "similarity to the goal image")
    for handle in axes.legend(fontsize="small", markerscale=3).legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


def decoder_gaps(options: BenchmarkOptions) -> Section | None:
    """How similar goals are through a small decoder and through the checkpoint's own; None where none is small."""
    rows = []
    for spec in options.generators:
        name, settings = parse_spec(spec)
        if settings.get("decoder"):
            metric, small = _goal_embeddings(options, {"name": name, **settings})
            _, own = _goal_embeddings(options, {"name": name, **settings, "decoder": ""})
            rows.append((spec, estimate(metric.similarity(small, own).double().numpy())))
    if not rows:
        return None
    text = (
        f"Similarity of the same {min(options.tasks, _GOALS)} goals through the small decoder and the checkpoint's own."
    )
    return Section("Small decoders", text, [pd.DataFrame(rows, columns=["generator", "similarity"])])


def _goal_embeddings(options: BenchmarkOptions, generator: dict[str, Any]) -> tuple[Metric, Any]:
    """The metric, and its embeddings of the first goals of the suite, (T, D)."""
    where = {"device": options.device, "dtype": options.dtype}
    metric = load_metric(asdict(options.metric), **where)
    studio = make_studio("here", load_generator(generator, **where), metric, {})
    tasks = load_suite(options.env.suite)[: min(options.tasks, _GOALS)]
    pictures = [(task.goal_prompt, task.goal_seed) for task in tasks]
    embeddings, _ = studio.picture(*studio.prepare(pictures), "goals through two decoders")
    return metric, embeddings[""].cpu()


def _setting(played: Played, setting: str) -> Section:
    first = next(iter(played.generators))
    compared = {
        f"choosing {setting}": played.ordered(played.settings[setting]),
        f"not choosing {setting}": played.of_user(first),
    }
    free, bound = (np.array([trace.similarities for trace in traces]) for traces in compared.values())
    rows = [(str(i + 1), *_compared(free[:, i], bound[:, i])) for i in range(free.shape[1])]
    rows.append(("Average", *_compared(free.mean(axis=1), bound.mean(axis=1))))
    shown = pd.DataFrame(rows, columns=["attempt", *compared, "difference", "p"])
    where = {"seed": "Table 5", "guidance": "Table 6"}.get(setting, setting)
    text = f"Similarity to the goal at each attempt with {first}, where “{played.user}” may choose the {setting} of an "
    text += "attempt and where not; paired by task, two-sided p-values of Student's t."
    named = [replace(trace, policy=name) for name, traces in compared.items() for trace in traces]
    curves = plots.attempts_curve(statistics.attempts(traces_to_frame(named)))
    return Section(f"Choosing the {setting} ({where})", text, [shown], [curves])


def _compared(free: np.ndarray, bound: np.ndarray) -> tuple[Estimate, Estimate, Estimate, str]:
    gap = free - bound
    # Batches of other sizes round otherwise, which is no difference.
    difference = estimate(np.where(np.abs(gap) <= SAME, 0.0, gap))
    return estimate(free), estimate(bound), difference, f"{difference.p_value:.2g}"


if __name__ == "__main__":
    main()
