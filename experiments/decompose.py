"""Equation 5 between generators: ``python -m experiments.decompose folder=outputs/terms evaluations=[a,b]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.run import REQUIRED, Run, RunOptions, command, option
from experiments.run.folder import CONFIG
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import Estimate, Interval, estimate, percentiles, redrawn
from steer_env.generators import load_generator
from steer_env.metrics import load_metric
from steer_env.traces import SteeringTrace, check_alike, read_traces

_DRAWS, _PENALTY = 400, 1e-6
"""Bootstrap samples; and the ridge's penalty, relative to the number of episodes."""
_FITS = (
    "Share of the variance of improvements that a ridge regression on ever more inputs explains, on tasks that it "
    "wasn't fitted to; standard errors over folds in parentheses."
)
_TERMS = (
    "Mechanism: how much more the generator's own goals would gain with its way of being steered than with the "
    "baseline's. Producible set: how much more its goals gain than the baseline's goals do, both steered as the "
    "baseline is. The terms rest on the predictor's first principal components and add up to the direct difference by "
    "construction; 95 % bootstrap intervals over tasks."
)


@dataclass
class DecomposeOptions(RunOptions):
    """Split generators' difference in steerability into steering mechanism and producible set (Equation 5).

    Args:
        evaluations: folders of experiments.evaluate, each with another generator or options of it, on the same
            suite with one and the same policy, user and metric; the first is the baseline.
        folds: of the cross-validation over tasks.
        components: principal components of the features on which the terms rest.
        seed: of the bootstrap.
    """

    evaluations: list[str] = option(REQUIRED, length=2, unique=True)
    folds: int = option(5, least=2)
    components: int = option(8, least=1)
    seed: int = option(0, least=0)


@command(DecomposeOptions)
def main(options: DecomposeOptions, run: Run) -> dict[str, Any]:
    """Compare the first evaluation's generator with each of the others."""
    evaluations = read_evaluations(options.evaluations)
    fits = _predictors(evaluations, options.folds)
    terms = _terms(evaluations, options.components, options.seed)
    first = evaluations[0].traces[0]
    tasks = len({trace.task_index for one in evaluations for trace in one.traces})
    lead = f"{first.policy} on {tasks} tasks of {first.suite}, user {first.human}, metric {first.metric}. "
    lead += f"The baseline is {first.generator}."
    run.open()
    run.publish(decomposition_report(fits, terms, lead))
    return {"evaluations": options.evaluations}


@dataclass(frozen=True)
class Evaluated:
    """One generator's N traces of one policy and one user.

    Args:
        goals: float (N, D), goal images, embedded by the evaluation's metric.
        prompts: float (N, W), users' prompts, embedded by the generator's text encoder, averaged over tokens.
    """

    traces: list[SteeringTrace]
    goals: np.ndarray
    prompts: np.ndarray

    def episodes(self, features: np.ndarray) -> Episodes:
        """With these features of the goals, float (N, D)."""
        rewards = np.array([trace.improvement for trace in self.traces])
        return Episodes(features, rewards, np.array([trace.task_index for trace in self.traces]))


def read_evaluations(folders: Sequence[str]) -> list[Evaluated]:
    """Read traces, and make and embed their goals again; refuse all that differs but the generator."""
    runs = [read_traces(Path(folder).expanduser() / "traces") for folder in folders]
    check_alike([trace for run in runs for trace in run], ("suite", "mechanism", "human", "metric", "policy"))
    generators = [run[0].generator for run in runs]
    if len(set(generators)) < max(2, len(runs)):
        raise ValueError(f"evaluations of at least two generators, each once, are needed, got {', '.join(generators)}")
    return [_embed(Path(folder).expanduser(), run) for folder, run in zip(folders, runs, strict=True)]


def _embed(folder: Path, traces: list[SteeringTrace]) -> Evaluated:
    from omegaconf import OmegaConf

    from steer_env.imaging.studio import LocalStudio

    config: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    where = {"device": config["device"], "dtype": config["dtype"]}
    generator, metric = load_generator(config["generator"], **where), load_metric(config["metric"], **where)
    studio = LocalStudio(generator, metric)
    goals = studio.prepare([(trace.goal_prompt, trace.goal_seed) for trace in traces])
    embedded, _ = studio.picture(*goals, "embedding goals")
    prompts = generator.encode([trace.prompt for trace in traces])["prompt_embeds"].mean(dim=1)
    return Evaluated(traces, *(values.cpu().double().numpy() for values in (embedded[""], prompts)))


def _predictors(evaluations: Sequence[Evaluated], folds: int) -> dict[str, Estimate]:
    """R² of the mean, and with generator, prompt and goal image added one after the other."""
    names = [trace.generator for one in evaluations for trace in one.traces]
    inputs = {
        "generator": pd.get_dummies(pd.Series(names), drop_first=True, dtype=float).to_numpy(),
        "+ prompt": np.concatenate([one.prompts for one in evaluations]),
        "+ goal image": np.concatenate([one.goals for one in evaluations]),
    }
    played = [one.episodes(one.goals) for one in evaluations]
    rewards, tasks = (np.concatenate([getattr(one, name) for one in played]) for name in ("rewards", "tasks"))
    return compare_predictors(rewards, tasks, inputs, folds)


def _terms(evaluations: Sequence[Evaluated], components: int, seed: int) -> dict[str, Decomposition]:
    """By generator, each against the first."""
    from sklearn.decomposition import PCA

    features = np.concatenate([np.concatenate([one.goals, one.prompts], axis=1) for one in evaluations])
    scores = PCA(min(*features.shape, components), svd_solver="full").fit_transform(features)
    parts = np.split(scores, np.cumsum([len(one.traces) for one in evaluations])[:-1])
    first, *others = (one.episodes(part) for one, part in zip(evaluations, parts, strict=True))
    names = [one.traces[0].generator for one in evaluations[1:]]
    return {name: decompose(first, other, seed=seed) for name, other in zip(names, others, strict=True)}


def compare_predictors(
    rewards: np.ndarray,
    groups: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    folds: int = 5,
    penalties: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
) -> dict[str, Estimate]:
    """R² of the mean and of ridge regressions on ever more inputs, cross-validated by groups.

    Args:
        rewards: float (N,).
        groups: (N,), such as tasks; none is in both the training and the test part of a fold.
        inputs: by name, float (N, D), added one after the other.
        penalties: of the ridge on standardised inputs, relative to the number of episodes; chosen by cross-validation
            within the training part.

    Returns:
        ``mean``, and each name of ``inputs`` for the predictor that also has it; standard errors over folds.
    """
    distinct, places = np.unique(groups, return_inverse=True)
    if len(distinct) < 2 * folds:
        raise ValueError(f"{len(distinct)} groups are too few for {folds} folds: at least {2 * folds}")
    for name, values in inputs.items():
        if len(values) != len(rewards) or not np.isfinite(values).all():
            raise ValueError(f"input {name!r} must be finite and have {len(rewards)} rows, has {len(values)}")
    fold = np.random.default_rng(0).permutation(len(distinct))[places] % folds
    # A constant predicts the mean, and nothing beside other inputs.
    known = np.zeros((len(rewards), 1))
    fits = {"mean": _cross_validate(known, rewards, fold, penalties)}
    for name, values in inputs.items():
        known = np.concatenate([known, values], axis=1)
        fits[name] = _cross_validate(known, rewards, fold, penalties)
    return fits


def _cross_validate(inputs: np.ndarray, rewards: np.ndarray, fold: np.ndarray, penalties: Sequence[float]) -> Estimate:
    """Each held-out fold with the penalty that is best among the others."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    class MeanRidge(Ridge):
        """With a penalty relative to the number of episodes."""

        def fit(self, inputs: np.ndarray, rewards: np.ndarray) -> Ridge:
            return super().fit(inputs, rewards, sample_weight=np.full(len(rewards), 1 / len(rewards)))

    spread = rewards.var()
    if spread == 0:
        raise ValueError(f"all rewards are {rewards[0]}: there is nothing to predict")
    ridge, grid = make_pipeline(StandardScaler(), MeanRidge()), {"meanridge__alpha": list(penalties)}
    squares = np.empty_like(rewards)
    for held in np.unique(fold):
        train, test = fold != held, fold == held
        search = GridSearchCV(ridge, grid, scoring="neg_mean_squared_error", cv=PredefinedSplit(fold[train]))
        squares[test] = (rewards[test] - search.fit(inputs[train], rewards[train]).predict(inputs[test])) ** 2
    each = np.array([1 - squares[fold == held].mean() / spread for held in np.unique(fold)])
    return replace(estimate(each), value=float(1 - squares.mean() / spread))


@dataclass(frozen=True)
class Decomposition:
    """Equation 5 for a model against a baseline.

    Args:
        mechanism: E_p2[μ2 − μ1].
        producible: E_p2[μ1] − E_p1[μ1].
        total: the two terms' sum.
        direct: the difference of mean rewards, without a predictor.
    """

    mechanism: Interval
    producible: Interval
    total: Interval
    direct: float


@dataclass(frozen=True)
class Episodes:
    """One generator's episodes.

    Args:
        features: float (N, D), of each episode's goal, the same D for both models.
        rewards: float (N,), improvements.
        tasks: int (N,), task of each episode; a task that both models have is redrawn for both at once.
    """

    features: np.ndarray
    rewards: np.ndarray
    tasks: np.ndarray

    def __post_init__(self) -> None:
        rows = len(self.features)
        if not rows == len(self.rewards) == len(self.tasks):
            raise ValueError(f"{rows} features, {len(self.rewards)} rewards and {len(self.tasks)} tasks")
        if not (np.isfinite(self.features).all() and np.isfinite(self.rewards).all()):
            raise ValueError("features and rewards must be finite; some are missing")

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """Means of 1 and of the features for weights (B, N) of the episodes: (B, 1 + D)."""
        return weights @ self._design / weights.sum(axis=1, keepdims=True)

    def fit(self, weights: np.ndarray) -> np.ndarray:
        """Coefficients (B, 1 + D) for weights (B, N), the intercept first and not penalised."""
        tasks, width = len(np.unique(self.tasks)), self.features.shape[1]
        if tasks < width + 2:
            raise ValueError(f"{tasks} tasks are too few for {width} features: at least {width + 2}")
        design = self._design
        gram = np.einsum("bn,ni,nj->bij", weights, design, design, optimize=True)
        ridge = _PENALTY * len(design) * np.diag([0.0] + [1.0] * width)
        right = weights @ (design * self.rewards[:, None])
        return np.linalg.solve(gram + ridge, right[..., None])[..., 0]

    @property
    def _design(self) -> np.ndarray:
        return np.column_stack([np.ones(len(self.features)), self.features])


def decompose(baseline: Episodes, model: Episodes, seed: int = 0) -> Decomposition:
    """Estimate both terms, the expectations by means over the sampled goals and μ by a ridge regression per model.

    The intercepts aren't penalised, so that the terms sum to the direct difference up to rounding. The baseline's
    predictor is evaluated on the model's goals: where the two barely overlap, the terms rest on extrapolation. Each
    bootstrap sample of tasks fits the predictors again.
    """
    if baseline.features.shape[1] != model.features.shape[1]:
        raise ValueError(f"features of width {baseline.features.shape[1]} and {model.features.shape[1]} don't compare")
    tasks, places = np.unique(np.concatenate([baseline.tasks, model.tasks]), return_inverse=True)
    counts = redrawn(np.random.default_rng(seed), len(tasks), _DRAWS) * len(tasks)
    weights = np.concatenate([np.ones((1, len(tasks))), counts])[:, places]
    of_baseline, of_model = np.split(weights, [len(baseline.tasks)], axis=1)
    fits = [baseline.fit(of_baseline), model.fit(of_model)]
    means = [baseline.mean(of_baseline), model.mean(of_model)]
    mechanism = ((fits[1] - fits[0]) * means[1]).sum(axis=1)
    producible = (fits[0] * (means[1] - means[0])).sum(axis=1)
    direct = float(model.rewards.mean() - baseline.rewards.mean())
    first, second, both = (percentiles(t[0], t[1:]) for t in (mechanism, producible, mechanism + producible))
    return Decomposition(first, second, both, direct)


def decomposition_report(fits: Mapping[str, Estimate], terms: Mapping[str, Decomposition], lead: str) -> Report:
    """Figure 4 (left), and the terms of Equation 5 by generator."""
    explained = pd.DataFrame([(name, f"{fit:.3f}") for name, fit in fits.items()], columns=["inputs", "R²"])
    rows = [(name, *(f"{term:+.4f}" for term in vars(one).values())) for name, one in terms.items()]
    split = pd.DataFrame(rows, columns=["generator", "mechanism", "producible set", "sum", "direct difference"])
    sections = [
        Section("What predicts steerability (Figure 4, left)", _FITS, [explained], [explained_variance(fits)]),
        Section("Mechanism or producible set (Equation 5)", _TERMS, [split]),
    ]
    return Report("Steering mechanism or producible set", lead, sections)


def explained_variance(fits: Mapping[str, Estimate]) -> plots.Figure:
    """Figure 4, left: R² of each predictor with one standard error."""
    figure, axes = plots.canvas(6.4, 3.2)
    axes.bar(list(fits), [fit.value for fit in fits.values()], yerr=[fit.error for fit in fits.values()], capsize=3)
    axes.set_ylabel("out-of-fold R²")
    return figure


if __name__ == "__main__":
    main()
