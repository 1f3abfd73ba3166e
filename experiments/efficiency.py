"""How many episodes agents need: ``python -m experiments.efficiency folder=outputs/efficiency``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.run import EnvOptions, PlayOptions, Run, command, option
from experiments.run.folder import slug
from experiments.run.parts import bandit_factory, env_options, load_table
from steer_env.evaluation import plots
from steer_env.evaluation.reports import Report, Section
from steer_env.evaluation.uncertainty import Estimate, Interval, estimate, percentiles, redrawn
from steer_env.policies import POLICY_FILE, TablePolicy, read_policy

if TYPE_CHECKING:
    from agents.bandits import BanditAgent
    from steer_env.envs import ImageSteeringVectorEnv

_RESAMPLES = 2000
_AT_A_TIME = 8
"""Tables that are played together, on the same goals and first images; an interruption loses their episodes."""


@dataclass
class EfficiencyOptions(PlayOptions):
    """Train several agents several times, and report how many episodes each needs.

    Args:
        agents: bandits, as in agent=NAME of training, and variants of them, such as 'planning:pooling=false'; the
            others are compared with the first.
        seeds: trainings of each agent, with seeds from 0.
        checkpoints: numbers of training episodes after which the learned policies are evaluated: ascending multiples
            of batch.
        batch: episodes trained at a time with one posterior.
        best: the best known policy, a built-in one or a folder, which must be a table over (round, stayed).
        share: part of its improvement that is to be reached.
        suite: tasks on which policies are evaluated; env.suite has those on which they are trained.
        tasks: how many tasks of suite, from its first.
    """

    agents: list[str] = option(["thompson", "planning"], length=1, unique=True)
    seeds: int = option(10, least=2)
    checkpoints: list[int] = option([32, 64, 128, 256, 512, 1024, 2048], least=1, length=1, unique=True)
    batch: int = option(32, least=1)
    best: str = "best-known"
    share: float = option(0.95, least=0, most=1)
    suite: str = "tiles-test-v1"
    env: EnvOptions = field(default_factory=EnvOptions)


@command(EfficiencyOptions)
def main(options: EfficiencyOptions, run: Run) -> dict[str, Any]:
    """Train every agent with every seed, evaluate what it would choose at each checkpoint, and report."""
    from experiments.run.playing import check_tasks
    from steer_env.evaluation.rollout import make_env

    check_milestones(options.checkpoints, options.batch)
    rounds, tested = options.env.rounds, env_options(options, suite=options.suite)
    agents = {spec: bandit_factory(spec, rounds) for spec in options.agents}
    best = canonical(load_table(options.best, "best"), rounds)
    check_tasks(options.tasks, **tested)
    env, folder = make_env(options.batch, **env_options(options)), run.open()
    learned: dict[str, list[list[TablePolicy]]] = {spec: [] for spec in agents}
    for seed in range(options.seeds):
        for spec, make_agent in agents.items():
            place = folder / "training" / slug(spec) / f"seed-{seed}"
            policies = milestones(make_agent(), env, seed, options.checkpoints, place)
            if policies is None:
                run.stop()
            learned[spec].append([canonical(policy, rounds) for policy in policies])
    tables = [best, *(table for trainings in learned.values() for training in trainings for table in training)]
    gains = improvements(tables, options.tasks, options.tasks_per_batch, folder / "traces", **tested)
    by_agent = {
        spec: np.array([[gains[table.name] for table in training] for training in trainings])
        for spec, trainings in learned.items()
    }
    curves = Curves(options.checkpoints, by_agent, gains[best.name], options.share)
    setting = f"Trained on {options.env.suite}, tested on {options.suite}."
    run.publish(efficiency_report(curves, options.best, setting))
    return {"tables": len(gains), "episodes needed": curves.needed()}


def check_milestones(episodes: Sequence[int], batch: int) -> None:
    """Refuse numbers of episodes after which keeping the policy would change the training."""
    numbers = list(episodes)
    if not numbers or sorted(set(numbers)) != numbers or any(number < 1 or number % batch for number in numbers):
        raise ValueError(f"checkpoints must be ascending multiples of the batch, {batch} episodes, got {numbers}")


def milestones(
    agent: BanditAgent, env: ImageSteeringVectorEnv, seed: int, episodes: Sequence[int], folder: Path
) -> list[TablePolicy] | None:
    """Train, or go on in the folder, and keep the policy after each number of episodes; None after Ctrl-C."""
    from agents.episodes import Training
    from agents.training import train

    policies = []
    for number in episodes:
        place = folder / "policies" / f"{number:08d}"
        if not (place / POLICY_FILE).is_file():
            if not train(agent, env, Training(number, seed), folder):
                return None
            agent.policy(f"after {number} episodes", seed).save(place)
        policy = read_policy(place)
        assert isinstance(policy, TablePolicy), "bandits learn tables"
        policies.append(policy)
    return policies


def canonical(policy: TablePolicy, rounds: int) -> TablePolicy:
    """The same policy for an episode of so many rounds, named after its scales.

    Before the first round no user has stayed: both scales of that round are the same.
    """
    place = np.repeat(np.arange(rounds), 2)
    scales = policy.act({"round": place, "stayed": np.tile([0, 1], rounds)}).reshape(rounds, 2)
    scales[0, 1] = scales[0, 0]
    return TablePolicy("_".join("-".join(f"{scale:g}" for scale in row) for row in scales), scales)


def improvements(
    tables: Iterable[TablePolicy], tasks: int, tasks_per_batch: int, folder: Path, **options: Any
) -> dict[str, np.ndarray]:
    """Name of each distinct canonical table → improvement on each task, float (T,); each is played once."""
    from steer_env.evaluation.suites import play_missing

    distinct = list({table.name: table for table in tables}.values())
    gains: dict[str, list[float]] = {table.name: [] for table in distinct}
    for start in range(0, len(distinct), _AT_A_TIME):
        part, place = distinct[start : start + _AT_A_TIME], folder / f"{start:06d}"
        for traces in play_missing(part, tasks, tasks_per_batch, place, **options):
            for trace in traces:
                gains[trace.policy].append(trace.improvement)
    return {name: np.array(values) for name, values in gains.items()}


@dataclass(frozen=True)
class Curves:
    """Improvements of several agents' policies on the same tasks.

    Args:
        checkpoints: C numbers of training episodes, ascending.
        gains: agent → float (S, C, T), of training seed s after checkpoint c on task t; the first agent is the
            baseline.
        best: float (T,), of the best known policy.
        share: of the best known policy's mean to reach.
    """

    checkpoints: Sequence[int]
    gains: Mapping[str, np.ndarray]
    best: np.ndarray
    share: float = 0.95

    def means(self, agent: str) -> list[Estimate]:
        """Improvement at each checkpoint, over training seeds and tasks."""
        return [estimate(self.gains[agent][:, place]) for place in range(len(self.checkpoints))]

    def first(self, agent: str) -> np.ndarray:
        """Episodes after which each training seed's policy is good enough for the first time, float (S,)."""
        return self._episodes(self._reached(agent))

    def kept(self, agent: str) -> np.ndarray:
        """Episodes from which on each training seed's policy stays good enough; infinite where none, float (S,)."""
        return self._episodes(_from_here_on(self._reached(agent)))

    def needed(self) -> dict[str, list[int | None]]:
        """Agent → :meth:`kept` of each training seed, None where none, as JSON."""
        return {agent: [int(n) if np.isfinite(n) else None for n in self.kept(agent)] for agent in self.gains}

    def ratio(self, agent: str) -> Interval:
        """How many times as many episodes the first agent needs, by the medians of :meth:`kept`.

        An agent that never gets there counts with the last checkpoint, so a ratio over it is a lower bound. The
        interval is a percentile bootstrap over training seeds and tasks.
        """
        rng, baseline = np.random.default_rng(0), next(iter(self.gains))
        value = self._ratio(np.median(self.kept(baseline)), np.median(self.kept(agent)))
        weights = redrawn(rng, len(self.best), _RESAMPLES).T
        target = self.share * self.best @ weights
        medians = []
        for name in (baseline, agent):
            kept = self._episodes(_from_here_on(self.gains[name] @ weights >= target))
            seeds = rng.integers(len(kept), size=kept.shape)
            medians.append(np.median(np.take_along_axis(kept, seeds, axis=0), axis=0))
        return percentiles(value.item(), self._ratio(*medians), method="inverted_cdf")

    def _reached(self, agent: str) -> np.ndarray:
        """Is the policy's mean at least the target? bool (S, C)."""
        return np.asarray(self.gains[agent].mean(axis=2) >= self.share * self.best.mean())

    def _episodes(self, reached: np.ndarray) -> np.ndarray:
        """The first checkpoint that is true in bool (S, C, …), or infinity, float (S, …)."""
        episodes = np.array(self.checkpoints)[reached.argmax(axis=1)]
        return np.where(reached.any(axis=1), episodes, np.inf)

    def _ratio(self, baseline: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.minimum(baseline, self.checkpoints[-1]) / other


def _from_here_on(reached: np.ndarray) -> np.ndarray:
    """True where all that follows along axis 1 is true, too."""
    return np.logical_and.accumulate(reached[:, ::-1], axis=1)[:, ::-1]


def efficiency_report(curves: Curves, best: str, setting: str) -> Report:
    """The learning curves, and how many episodes each agent needs; ``setting`` is a sentence about the environment."""
    seeds = len(next(iter(curves.gains.values())))
    target = estimate(curves.best)
    lead = (
        f"{setting} {seeds} trainings of each agent; what each would choose at a checkpoint is played on "
        f"{len(curves.best)} tasks with the same goals, first images and noise. Best known policy: {best}, improvement "
        f"{target}."
    )
    percent = f"{curves.share:.0%}"
    rows = [(agent, *curves.means(agent)) for agent in curves.gains]
    sections = [
        Section(
            "Learning curves",
            "Mean improvement of the learned policy, standard errors over training seeds and tasks in parentheses; "
            f"bands are 95 % intervals. The dashed line is {percent} of the best known policy's improvement.",
            [pd.DataFrame(rows, columns=["agent", *map(str, curves.checkpoints)])],
            [learning_curves(curves, curves.share * target.value)],
        ),
        Section(
            f"Episodes needed for {percent} of the best known policy's improvement",
            "Reached: at the first checkpoint that is good enough. Kept: at the first from which on all are. Medians "
            "over training seeds, and the quartiles; the ratio is that of the medians of kept, with a 95 % bootstrap "
            "interval over training seeds and tasks. An agent that never gets there counts with the last checkpoint.",
            [_needed_table(curves)],
        ),
    ]
    return Report("Sample efficiency", lead, sections)


def learning_curves(curves: Curves, target: float) -> plots.Figure:
    """Improvement of each agent's learned policy after so many episodes, with 95 % intervals; the target is dashed."""
    figure, axes = plots.canvas(6.4, 4.2)
    for i, agent in enumerate(curves.gains):
        value, low, high = zip(*(astuple(mean.interval()) for mean in curves.means(agent)), strict=True)
        axes.plot(curves.checkpoints, value, color=plots.colour(i), marker="o", ms=3, label=agent)
        axes.fill_between(curves.checkpoints, low, high, color=plots.colour(i), alpha=0.15)
    axes.axhline(target, color="black", linestyle="--", linewidth=1)
    axes.set_xscale("log")
    plots.finish(axes, "episodes of training", "improvement of the learned policy", loc="best")
    return figure


def _needed_table(curves: Curves) -> pd.DataFrame:
    rows = []
    for place, agent in enumerate(curves.gains):
        kept = curves.kept(agent)
        low, high = np.quantile(kept, [0.25, 0.75], method="inverted_cdf")
        compared = ("", "")
        if place:
            ratio = curves.ratio(agent)
            compared = (f"{ratio.value:.1f}", ratio.brackets(".1f"))
        quartiles = f"{_episodes(low, curves)} – {_episodes(high, curves)}"
        medians = [_episodes(float(np.median(values)), curves) for values in (curves.first(agent), kept)]
        rows.append((agent, *medians, quartiles, *compared))
    return pd.DataFrame(rows, columns=["agent", "reached", "kept", "kept, quartiles", "ratio", "95 % interval"])


def _episodes(number: float, curves: Curves) -> str:
    return f"{number:.0f}" if np.isfinite(number) else f"> {curves.checkpoints[-1]}"


if __name__ == "__main__":
    main()
